from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from core import claims, events, runs
from core.database import Database
from core.errors import (
    BadCursor,
    DatasetNotFound,
    IdempotencyMismatch,
    MoveForbidden,
    QueueFull,
    RunNotEnded,
    RunNotFound,
)
from core.idempotency import Idempotency
from core.runs import Filter, NewRun, Run
from core.states import Outcome, State

Submit = Callable[..., Run]
NEW = NewRun(
    spec={"dataset": "rows", "seed": 2**63 - 1, "lr": 0.1, "name": "é ∂ 日本"},
    spec_hash="sha256:1",
    dataset_id="ds_rows",
    device="auto",
    threads=2,
    steps=100,
    name="é ∂ 日本",
    labels={"arm": "bn", "seed": "0"},
    findings=[{"reason": "BN_SMALL_BATCH"}],
)
KEY = Idempotency("POST /v1/runs", "key-1", "hash-1")


def types(database: Database, run_id: str) -> list[str]:
    return [event.type for event in database.read(lambda c: events.after(c, run_id, 0))]


def bring(database: Database, run: Run, state: State) -> Run:
    """Lead a queued run to any state the shortest way."""
    if state in (State.PAUSED, State.CANCELLED):
        move = runs.pause if state is State.PAUSED else runs.cancel
        return database.write(lambda c: move(c, run.id))
    if state is State.QUEUED:
        return run
    owner = claims.Owner("worker-1", "host-1", "cpu")
    database.write(lambda c: claims.claim(c, run.id, owner, 45))
    ways: dict[State, Callable[..., Any]] = {
        State.RUNNING: lambda c: None,
        State.PAUSING: lambda c: runs.pause(c, run.id),
        State.STOPPING: lambda c: runs.cancel(c, run.id),
        State.SUCCEEDED: lambda c: claims.finish(c, run.id, 1, Outcome.COMPLETED),
        State.FAILED: lambda c: claims.fail(
            c, run.id, 1, {"cause": "code", "reason": "R", "message": "m"}
        ),
    }
    database.write(ways[state])
    return database.read(lambda c: runs.get(c, run.id))


def test_what_is_submitted_waits_and_reads_back_unchanged(with_dataset: Database) -> None:
    accepted = with_dataset.write(lambda c: runs.submit(c, NEW, 10))
    read = with_dataset.read(lambda c: runs.get(c, accepted.run.id))
    assert (read, accepted.replayed) == (accepted.run, False)
    assert (read.state, read.epoch, read.attempts, read.metrics) == (State.QUEUED, 0, 0, {})
    assert (read.spec, read.name, read.labels) == (NEW.spec, NEW.name, NEW.labels)
    assert (read.findings, read.threads, read.steps) == (NEW.findings, 2, 100)
    assert types(with_dataset, read.id) == ["queued"]


def test_a_run_of_a_dataset_that_is_gone_is_refused(with_dataset: Database) -> None:
    with_dataset.write(lambda c: c.execute(text("DELETE FROM datasets")) and None)
    with pytest.raises(DatasetNotFound):
        with_dataset.write(lambda c: runs.submit(c, NEW, 10))
    assert with_dataset.read(runs.counts)[State.QUEUED] == 0


def test_as_many_runs_wait_as_are_allowed(with_dataset: Database, submit: Submit) -> None:
    for _ in range(3):
        with_dataset.write(lambda c: runs.submit(c, NEW, 3))
    with pytest.raises(QueueFull) as refused:
        with_dataset.write(lambda c: runs.submit(c, NEW, 3))
    assert refused.value.metadata == {"limit": 3}
    newest = with_dataset.read(lambda c: runs.page(c, Filter(limit=1))).data[0]
    bring(with_dataset, newest, State.RUNNING)
    with_dataset.write(lambda c: runs.submit(c, NEW, 3))


def test_the_same_key_and_body_give_the_same_run_again(with_dataset: Database) -> None:
    first = with_dataset.write(lambda c: runs.submit(c, NEW, 1, KEY))
    bring(with_dataset, first.run, State.RUNNING)
    again = with_dataset.write(lambda c: runs.submit(c, NEW, 1, KEY))
    assert (again.run.id, again.run.state, again.replayed) == (first.run.id, State.RUNNING, True)
    other_scope = Idempotency("POST /v1/experiments", KEY.key, KEY.body_hash)
    assert not with_dataset.write(lambda c: runs.submit(c, NEW, 9, other_scope)).replayed


def test_a_key_that_is_replayed_needs_no_room_in_the_queue(with_dataset: Database) -> None:
    with_dataset.write(lambda c: runs.submit(c, NEW, 1, KEY))
    assert with_dataset.write(lambda c: runs.submit(c, NEW, 1, KEY)).replayed


def test_the_same_key_with_another_body_is_refused(with_dataset: Database) -> None:
    with_dataset.write(lambda c: runs.submit(c, NEW, 9, KEY))
    other = Idempotency(KEY.scope, KEY.key, "hash-2")
    with pytest.raises(IdempotencyMismatch):
        with_dataset.write(lambda c: runs.submit(c, NEW, 9, other))


def test_a_refused_submission_leaves_its_key_free(with_dataset: Database) -> None:
    full = NewRun(**vars(NEW) | {"dataset_id": "ds_none"})
    with pytest.raises(DatasetNotFound):
        with_dataset.write(lambda c: runs.submit(c, full, 9, KEY))
    assert not with_dataset.write(lambda c: runs.submit(c, NEW, 9, KEY)).replayed


@pytest.mark.parametrize(
    "run_id", ["run_x", "", "run_" + "0" * 32, "a\x00b", "\ud800", "x" * 10_000]
)
def test_an_id_of_nothing_is_not_found(database: Database, run_id: str) -> None:
    asked: list[Callable[..., Any]] = [runs.get, runs.pause, runs.resume, runs.cancel, runs.delete]
    for call in asked:
        with pytest.raises(RunNotFound):
            database.write(lambda c, call=call: call(c, run_id))


def test_pages_lead_from_the_newest_to_the_oldest(with_dataset: Database, submit: Submit) -> None:
    ids = [submit().id for _ in range(5)]
    after, seen, sizes = None, [], []
    while True:
        wanted = Filter(limit=2, after=after)
        page = with_dataset.read(lambda c, wanted=wanted: runs.page(c, wanted))
        seen += [run.id for run in page.data]
        sizes.append((len(page.data), page.has_more))
        if not page.has_more:
            break
        after = seen[-1]
    assert seen == ids[::-1]
    assert sizes == [(2, True), (2, True), (1, False)]


def test_pages_keep_to_state_and_labels(with_dataset: Database, submit: Submit) -> None:
    both = submit(labels={"arm": "bn", "seed": "0"})
    submit(labels={"arm": "plain", "seed": "0"})
    paused = bring(with_dataset, submit(labels={"arm": "bn", "seed": "1"}), State.PAUSED)

    def ids(**wanted: Any) -> list[str]:
        page = with_dataset.read(lambda c: runs.page(c, Filter(**wanted)))
        return [run.id for run in page.data]

    assert ids(labels={"arm": "bn"}) == [paused.id, both.id]
    assert ids(labels={"arm": "bn", "seed": "0"}) == [both.id]
    assert ids(state=State.PAUSED) == [paused.id]
    assert ids(state=State.QUEUED, labels={"arm": "bn"}) == [both.id]
    assert ids(labels={"arm": "0"}) == []
    assert ids(labels={"arm": "bn"}, after=paused.id) == [both.id]


@pytest.mark.parametrize("after", ["run_x", "run_" + "f" * 32, "ds_rows", "\x00"])
def test_a_cursor_that_names_no_run_is_refused(with_dataset: Database, after: str) -> None:
    with pytest.raises(BadCursor):
        with_dataset.read(lambda c: runs.page(c, Filter(after=after)))


@pytest.mark.parametrize("limit", [0, -1, 101])
def test_a_page_has_one_to_a_hundred_runs(limit: int) -> None:
    with pytest.raises(ValueError, match="1 to 100"):
        Filter(limit=limit)


FORBIDDEN = "409"
MOVES: dict[State, tuple[str, str, str]] = {  # pause, resume, cancel
    State.QUEUED: ("paused", "queued", "cancelled"),
    State.RUNNING: ("pausing", "running", "stopping"),
    State.PAUSING: ("pausing", FORBIDDEN, "stopping"),
    State.PAUSED: ("paused", "queued", "cancelled"),
    State.STOPPING: (FORBIDDEN, FORBIDDEN, "stopping"),
    State.SUCCEEDED: (FORBIDDEN, FORBIDDEN, FORBIDDEN),
    State.FAILED: (FORBIDDEN, FORBIDDEN, FORBIDDEN),
    State.CANCELLED: (FORBIDDEN, FORBIDDEN, "cancelled"),
}


@pytest.mark.parametrize("state", list(State))
def test_users_move_a_run_only_where_its_state_leads(
    with_dataset: Database, submit: Submit, state: State
) -> None:
    asked = {"pause": runs.pause, "resume": runs.resume, "cancel": runs.cancel}
    for (name, move), target in zip(asked.items(), MOVES[state], strict=True):
        run = bring(with_dataset, submit(), state)
        assert run.state is state
        if target == FORBIDDEN:
            with pytest.raises(MoveForbidden) as refused:
                with_dataset.write(lambda c, move=move, run=run: move(c, run.id))
            assert refused.value.metadata == {"move": name, "state": state.value}
            assert with_dataset.read(lambda c, run=run: runs.get(c, run.id)) == run
        else:
            moved = with_dataset.write(lambda c, move=move, run=run: move(c, run.id))
            assert moved.state == target
            assert with_dataset.read(lambda c, run=run: runs.get(c, run.id)) == moved
            is_same = target == state.value
            assert moved.last_seq == run.last_seq + (0 if is_same else 1)
            assert is_same or types(with_dataset, run.id)[-1] == target
        now = with_dataset.read(lambda c, run=run: runs.get(c, run.id))
        assert now.ended == (now.finished_at is not None)


def test_only_an_ended_run_can_be_deleted_and_then_all_of_it_is_gone(
    with_dataset: Database, submit: Submit
) -> None:
    kept = submit(labels={"arm": "bn"})
    for state in State:
        run = bring(with_dataset, submit(labels={"arm": "bn"}), state)
        if not run.ended:
            with pytest.raises(RunNotEnded) as refused:
                with_dataset.write(lambda c, run=run: runs.delete(c, run.id))
            assert refused.value.metadata == {"state": state.value}
            continue
        deleted = with_dataset.write(lambda c, run=run: runs.delete(c, run.id))
        assert (deleted.run, deleted.prefix) == (run, f"runs/{run.id}/")
        for table in ("runs", "run_labels", "events", "points", "checkpoints"):
            column = "id" if table == "runs" else "run_id"
            query = text(f"SELECT count(*) FROM {table} WHERE {column} = '{run.id}'")
            assert with_dataset.read(lambda c, query=query: c.execute(query).scalar_one()) == 0
    assert types(with_dataset, kept.id) == ["queued"]


def test_the_key_of_a_deleted_run_makes_a_new_one(with_dataset: Database) -> None:
    first = with_dataset.write(lambda c: runs.submit(c, NEW, 9, KEY)).run
    bring(with_dataset, first, State.CANCELLED)
    with_dataset.write(lambda c: runs.delete(c, first.id))
    again = with_dataset.write(lambda c: runs.submit(c, NEW, 9, KEY))
    assert (again.replayed, again.run.id == first.id) == (False, False)


def test_runs_are_counted_by_state(with_dataset: Database, submit: Submit) -> None:
    assert with_dataset.read(runs.oldest_queued_at) is None
    first = submit()
    for state in (State.QUEUED, State.PAUSED, State.RUNNING):
        bring(with_dataset, submit(), state)
    found = with_dataset.read(runs.counts)
    expected = dict.fromkeys(State, 0)
    expected |= {State.QUEUED: 2, State.PAUSED: 1, State.RUNNING: 1}
    assert found == expected
    assert with_dataset.read(runs.oldest_queued_at) == first.created_at
