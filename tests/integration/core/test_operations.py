from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from core import operation_claims, operations, runs
from core.database import Database
from core.errors import (
    BadCursor,
    CheckpointNotFound,
    DatasetNotFound,
    Fenced,
    IdempotencyMismatch,
    OperationNotFound,
    QueueFull,
)
from core.idempotency import Idempotency
from core.ids import is_id, new_id
from core.leases import Owner
from core.operations import NewOperation, Operation
from core.runs import Run
from core.states import State
from tests.races import Race, write

Trained = Callable[..., str]
OWNER = Owner("worker-1", "host-1", "cpu", 4321, 99)
ERROR = {"cause": "user", "reason": "BAD_ROWS", "message": "Row 3 is bad."}
KEY = Idempotency("POST /v1/checkpoints/recalibrate", "key", "hash-1")
RESULT = {"checkpoint": "ckpt_1", "before": {"accuracy": 0.37}, "after": {"accuracy": 0.94}}


def submit(database: Database, **changes: Any) -> Operation:
    new = NewOperation(**{"kind": "recalibrate", "params": {"method": "precise"}} | changes)
    return database.write(lambda c: operations.submit(c, new, 1000)).operation


def claim(database: Database, operation: Operation, seconds: float = 45) -> Operation:
    owned = database.write(lambda c: operation_claims.claim(c, operation.id, OWNER, seconds))
    assert owned is not None
    return owned


def claimed(database: Database, **changes: Any) -> Operation:
    return claim(database, submit(database, **changes))


def read(database: Database, operation: Operation) -> Operation:
    return database.read(lambda c: operations.get(c, operation.id))


def lose(database: Database, operation: Operation, max_crashes: int = 3) -> Operation:
    return database.write(
        lambda c: operation_claims.lost(c, operation.id, operation.epoch, "killed", max_crashes)
    )


def test_an_accepted_operation_waits(with_dataset: Database, trained: Trained) -> None:
    asked = NewOperation("recalibrate", {"rows": 100}, trained(with_dataset), "ds_rows", "cpu", 2)
    made = with_dataset.write(lambda c: operations.submit(c, asked, 1))
    assert not made.replayed
    found = read(with_dataset, made.operation)
    assert found == made.operation
    assert is_id("op", found.id)
    assert {name: getattr(found, name) for name in vars(asked)} == vars(asked)
    assert (found.state, found.progress, found.epoch, found.attempts) == (State.QUEUED, 0, 0, 0)
    assert (found.result, found.error, found.worker_id, found.ended) == (None, None, None, False)


def test_an_operation_needs_what_it_names(with_dataset: Database) -> None:
    for bad in (new_id("ckpt"), "", "\x00"):
        with pytest.raises(CheckpointNotFound):
            submit(with_dataset, checkpoint_id=bad)
    with pytest.raises(DatasetNotFound):
        submit(with_dataset, dataset_id="ds_none")
    assert with_dataset.read(operations.page).data == []


def test_a_repeated_request_makes_one_operation(database: Database) -> None:
    def ask(key: Idempotency, limit: int = 1) -> operations.Submitted:
        new = NewOperation("recalibrate", {})
        return database.write(lambda c: operations.submit(c, new, limit, key))

    first = ask(KEY)
    again = ask(KEY)
    assert (again.operation, again.replayed) == (first.operation, True), (
        "also where the queue is full"
    )
    with pytest.raises(IdempotencyMismatch):
        ask(Idempotency(KEY.scope, KEY.key, "hash-2"))
    other = Idempotency(KEY.scope, "other", "hash-1")
    with pytest.raises(QueueFull) as refused:
        ask(other)
    assert refused.value.message.startswith("1 operations wait")
    claim(database, first.operation)
    assert not ask(other).replayed, "what was refused has not taken its key"


def test_an_unknown_operation_is_not_found(database: Database) -> None:
    for bad in (new_id("op"), new_id("run"), "", "\x00", "\ud800"):
        with pytest.raises(OperationNotFound):
            database.read(lambda c, bad=bad: operations.get(c, bad))


def test_pages_lead_from_the_newest_to_the_oldest(database: Database, trained: Trained) -> None:
    one, other = trained(database), trained(database)
    mine = [submit(database, checkpoint_id=one) for _ in range(3)]
    foreign = submit(database, checkpoint_id=other)
    first = database.read(lambda c: operations.page(c, one, 2))
    assert (first.data, first.has_more) == (mine[:0:-1], True)
    rest = database.read(lambda c: operations.page(c, one, 2, first.data[-1].id))
    assert (rest.data, rest.has_more) == (mine[:1], False)
    assert database.read(operations.page).data == [foreign, *mine[::-1]]
    for after in (foreign.id, new_id("op"), "\x00"):
        with pytest.raises(BadCursor):
            database.read(lambda c, after=after: operations.page(c, one, 2, after))
    with pytest.raises(ValueError, match="1 to 100"):
        database.read(lambda c: operations.page(c, limit=0))


def test_a_claim_makes_an_owner(database: Database) -> None:
    queued = submit(database)
    owned = claim(database, queued)
    assert owned == read(database, queued)
    assert (owned.state, owned.epoch, owned.attempts) == (State.RUNNING, 1, 1)
    assert (owned.worker_id, owned.host, owned.pid, owned.pid_start) == (
        "worker-1",
        "host-1",
        4321,
        99,
    )
    assert owned.worker_device == "cpu"
    assert owned.started_at is not None
    again = database.write(lambda c: operation_claims.claim(c, queued.id, OWNER, 45))
    assert again is None
    unknown = database.write(lambda c: operation_claims.claim(c, new_id("op"), OWNER, 45))
    assert unknown is None


def test_a_free_slot_takes_what_its_device_may(database: Database) -> None:
    cuda, auto, cpu = (submit(database, device=d, threads=2) for d in ("cuda", "auto", "cpu"))
    newer = submit(database, kind="newer", device="cpu", threads=1)

    def first(device: Any, gpu_alive: bool, **more: Any) -> str | None:
        find = operation_claims.next_queued
        found = database.read(lambda c: find(c, device, gpu_alive, **more))
        return found.id if found else None

    assert first("gpu", True) == cuda.id
    assert first("cpu", True) == cpu.id
    assert first("cpu", False) == auto.id
    assert first("cpu", False, threads=1) == newer.id
    assert first("cpu", False, threads=1, kinds={"recalibrate"}) is None
    assert first("cpu", False, threads=2, kinds={"recalibrate"}) == auto.id
    assert database.read(lambda c: operation_claims.waiting(c, True)) == {"cpu": 2, "gpu": 2}
    assert database.read(lambda c: operation_claims.waiting(c, False)) == {"cpu": 3, "gpu": 1}


def test_operations_and_runs_wait_apart(with_dataset: Database, submit: Callable[..., Run]) -> None:
    run = submit()
    new = NewOperation("recalibrate", {})
    made = with_dataset.write(lambda c: operations.submit(c, new, 1)).operation
    assert with_dataset.read(runs.counts)[State.QUEUED] == 1
    found = with_dataset.read(lambda c: operation_claims.next_queued(c, "cpu", False))
    assert found == made
    assert with_dataset.write(lambda c: operation_claims.claim(c, run.id, OWNER, 45)) is None


def test_an_owner_names_its_process_and_renews_its_lease(database: Database) -> None:
    owned = claim(database, submit(database), -1)
    assert database.read(lambda c: operation_claims.expired(c, 0)) == [owned]
    assert database.read(lambda c: operation_claims.expired(c, 30)) == []
    database.write(lambda c: operation_claims.renew(c, owned.id, 1, 45))
    assert database.read(lambda c: operation_claims.expired(c, 0)) == []
    database.write(lambda c: operation_claims.attach(c, owned.id, 1, 55, 66, -1.0))
    (found,) = database.read(lambda c: operation_claims.expired(c, 0))
    assert (found.pid, found.pid_start) == (55, 66)
    assert database.read(lambda c: operation_claims.owned_by_host(c, "host-1")) == [found]
    assert database.read(lambda c: operation_claims.owned_by_host(c, "host-2")) == []


def test_progress_is_told_and_the_result_stays(database: Database) -> None:
    owned = claimed(database)
    database.write(lambda c: operation_claims.report(c, owned.id, 1, 0.25))
    told = read(database, owned)
    assert (told.progress, told.state) == (0.25, State.RUNNING)
    assert told.progress_at is not None
    for bad in (-0.1, 1.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="0 to 1"):
            database.write(lambda c, bad=bad: operation_claims.report(c, owned.id, 1, bad))
    done = database.write(lambda c: operation_claims.finish(c, owned.id, 1, RESULT))
    assert done == read(database, owned)
    assert (done.state, done.progress, done.result, done.error) == (
        State.SUCCEEDED,
        1,
        RESULT,
        None,
    )
    assert done.ended
    assert done.finished_at is not None
    assert (done.worker_id, done.pid, done.lease_until) == (None, None, None)
    assert done.worker_device == "cpu", "what it was done on stays"


def test_an_operation_that_cannot_be_done_says_why(database: Database) -> None:
    owned = claimed(database)
    database.write(lambda c: operation_claims.report(c, owned.id, 1, 0.5))
    ended = database.write(lambda c: operation_claims.fail(c, owned.id, 1, ERROR))
    assert (ended.state, ended.error, ended.result) == (State.FAILED, ERROR, None)
    assert (ended.progress, ended.ended, ended.worker_id) == (0.5, True, None)


def test_what_was_interrupted_goes_first_and_starts_anew(database: Database) -> None:
    never, interrupted, delayed = submit(database), claimed(database), claimed(database)
    database.write(lambda c: operation_claims.report(c, interrupted.id, 1, 0.5))
    freed = database.write(lambda c: operation_claims.release(c, interrupted.id, 1))
    assert (freed.state, freed.progress, freed.worker_id) == (State.QUEUED, 0, None)
    assert freed.crashes == 0, "a shutdown is no crash"
    database.write(lambda c: operation_claims.release(c, delayed.id, 1, 300))
    order = []
    while found := database.read(lambda c: operation_claims.next_queued(c, "cpu", False)):
        order.append(claim(database, found))
    assert [one.id for one in order] == [interrupted.id, never.id]
    assert [one.epoch for one in order] == [2, 1]
    assert order[0].started_at == interrupted.started_at
    assert database.write(lambda c: operation_claims.claim(c, delayed.id, OWNER, 45)) is None


def test_an_operation_that_kills_its_owners_fails(database: Database) -> None:
    owned = claimed(database)
    for crashes in (1, 2, 3):
        freed = lose(database, owned)
        assert (freed.state, freed.crashes, freed.worker_id) == (State.QUEUED, crashes, None)
        owned = claim(database, freed)
        report = write(operation_claims.report, owned.id, owned.epoch, 0.9)
        report(database)
    ended = lose(database, owned)
    assert (ended.state, ended.crashes, ended.attempts) == (State.FAILED, 4, 4)
    assert ended.error is not None
    assert (ended.error["cause"], ended.error["reason"]) == ("infra", "POISON_OPERATION")
    assert "4 times" in ended.error["message"]
    assert ended.finished_at is not None


WRITES: dict[str, Callable[..., Any]] = {
    "attach": lambda c, one, epoch: operation_claims.attach(c, one, epoch, 1, 2, 45),
    "renew": lambda c, one, epoch: operation_claims.renew(c, one, epoch, 45),
    "report": lambda c, one, epoch: operation_claims.report(c, one, epoch, 0.5),
    "finish": lambda c, one, epoch: operation_claims.finish(c, one, epoch, {}),
    "fail": lambda c, one, epoch: operation_claims.fail(c, one, epoch, ERROR),
    "release": lambda c, one, epoch: operation_claims.release(c, one, epoch),
    "lost": lambda c, one, epoch: operation_claims.lost(c, one, epoch, "killed", 3),
}


def test_an_owner_whose_claim_is_over_writes_nothing(database: Database) -> None:
    """Over because it was taken and claimed again, taken and not claimed, or ended."""
    again = claimed(database)
    lose(database, again)
    claim(database, again)
    waits = claimed(database)
    lose(database, waits)
    ended = claimed(database)
    database.write(lambda c: operation_claims.finish(c, ended.id, 1, RESULT))
    for one in (again, waits, ended):
        before = read(database, one)
        for name, call in WRITES.items():
            with pytest.raises(Fenced) as fenced:
                database.write(lambda c, call=call, one=one: call(c, one.id, 1))
            assert fenced.value.metadata == {"operation": one.id, "epoch": 1}, name
        assert read(database, one) == before


def test_an_operation_goes_with_its_checkpoint_and_is_not_replayed(
    with_dataset: Database, submit: Callable[..., Run], trained: Trained
) -> None:
    run = submit()
    new = NewOperation("recalibrate", {}, trained(with_dataset, run))
    first = with_dataset.write(lambda c: operations.submit(c, new, 9, KEY)).operation
    claim(with_dataset, first)
    with_dataset.write(lambda c: operation_claims.fail(c, first.id, 1, ERROR))
    with_dataset.write(lambda c: runs.cancel(c, run.id))
    with_dataset.write(lambda c: runs.delete(c, run.id))
    with pytest.raises(OperationNotFound):
        read(with_dataset, first)
    anew = NewOperation("recalibrate", {}, trained(with_dataset))
    assert not with_dataset.write(lambda c: operations.submit(c, anew, 9, KEY)).replayed


def test_the_database_refuses_a_state_that_operations_do_not_have(database: Database) -> None:
    submit(database)
    query = text("UPDATE operations SET state = 'paused'")
    with pytest.raises(Exception, match="ck_operations_state"):
        database.write(lambda c: c.execute(query) and None)


def test_of_eight_claims_one_wins(actors: list[Database], race: Race) -> None:
    for _ in range(25):
        queued = submit(actors[0])
        owners = [Owner(f"w{i}", "host", "cpu") for i in range(8)]
        found = race.run([write(operation_claims.claim, queued.id, one, 45) for one in owners])
        (winner,) = [one for one in found if one is not None]
        assert read(actors[0], queued) == winner
        assert (winner.epoch, winner.attempts) == (1, 1)


def test_whatever_ends_an_operation_ends_it_once(actors: list[Database], race: Race) -> None:
    for _ in range(20):
        owned = claimed(actors[0])
        found = race.run([write(call, owned.id, 1) for call in WRITES.values()])
        by_name = dict(zip(WRITES, found, strict=True))
        ends = [by_name[name] for name in ("finish", "fail", "release", "lost")]
        (won,) = [one for one in ends if not isinstance(one, Fenced)]
        assert read(actors[0], owned) == won
        assert won.worker_id is None


def test_a_burst_of_one_key_makes_one_operation(actors: list[Database], race: Race) -> None:
    new = NewOperation("recalibrate", {})
    for i in range(10):
        key = Idempotency("POST", f"key-{i}", "hash")
        found = race.run([write(operations.submit, new, 10_000, key)] * 8)
        assert len({one.operation.id for one in found}) == 1
        assert [one.replayed for one in found].count(False) == 1


def test_a_burst_does_not_pass_the_limit_of_the_queue(actors: list[Database], race: Race) -> None:
    new = NewOperation("recalibrate", {})
    for waiting in range(0, 30, 3):
        found = race.run([write(operations.submit, new, waiting + 3)] * 8)
        assert sum(isinstance(one, QueueFull) for one in found) == 5
