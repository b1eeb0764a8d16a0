"""What must hold when several threads, each with connections of its own, act at one instant."""

from itertools import pairwise

from core import claims, events, runs
from core.claims import Owner
from core.database import Database
from core.errors import Fenced, MoveForbidden, QueueFull
from core.idempotency import Idempotency
from core.runs import NewRun, Run
from core.states import Outcome, State
from tests.races import Act, Race, write

NEW = NewRun({}, "sha256:1", "ds_rows", "cpu", 1, 10)
ERROR = {"cause": "code", "reason": "R", "message": "m"}


def submit(database: Database) -> Run:
    return database.write(lambda c: runs.submit(c, NEW, 10_000), durable=False).run


def claim(name: str, run: Run) -> Act:
    owner = Owner(name, "host", "cpu")
    return lambda d: d.write(lambda c: claims.claim(c, run.id, owner, 45), durable=False)


def claimed(database: Database) -> Run:
    run = claim("w", submit(database))(database)
    assert run is not None
    return run


def terminal_events(database: Database, run: Run) -> list[str]:
    seen = database.read(lambda c: events.after(c, run.id, 0))
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    return [event.type for event in seen if event.terminal]


def test_of_eight_claims_one_wins(actors: list[Database], race: Race) -> None:
    for _ in range(100):
        run = submit(actors[0])
        found = race.run([claim(f"w{i}", run) for i in range(8)])
        (winner,) = [one for one in found if one is not None]
        now = actors[0].read(lambda c, run=run: runs.get(c, run.id))
        assert (now.epoch, now.attempts, now.worker_id) == (1, 1, winner.worker_id)
        assert now.last_seq == 2


def test_finishing_and_cancelling_end_a_run_once(actors: list[Database], race: Race) -> None:
    for _ in range(40):
        run = claimed(actors[0])
        finish = write(claims.finish, run.id, 1, Outcome.COMPLETED)
        finished, cancelled = race.run([finish, write(runs.cancel, run.id)])
        now = actors[0].read(lambda c, run=run: runs.get(c, run.id))
        assert now.state in (State.SUCCEEDED, State.CANCELLED)
        assert finished == now
        refused = isinstance(cancelled, MoveForbidden)
        assert refused == (now.state is State.SUCCEEDED), "cancel wins, or it is told so"
        assert terminal_events(actors[0], run) == [now.state.value]


def test_whatever_ends_a_run_ends_it_once(actors: list[Database], race: Race) -> None:
    for _ in range(25):
        run = claimed(actors[0])
        acts = [
            write(claims.finish, run.id, 1, Outcome.COMPLETED),
            write(claims.fail, run.id, 1, ERROR),
            write(claims.lost, run.id, 1, "killed", 0),
            write(claims.release, run.id, 1, "Shut down."),
            write(runs.cancel, run.id),
            write(runs.pause, run.id),
            write(claims.renew, run.id, 1, 45),
            write(claims.report, run.id, 1, claims.Report(5)),
        ]
        race.run(acts)
        now = actors[0].read(lambda c, run=run: runs.get(c, run.id))
        assert now.state not in (State.RUNNING, State.PAUSING, State.STOPPING)
        assert terminal_events(actors[0], run) == ([now.state.value] if now.ended else [])


def test_two_reconcilers_take_a_run_from_its_owner_once(actors: list[Database], race: Race) -> None:
    for _ in range(25):
        run = claimed(actors[0])
        found = race.run([write(claims.lost, run.id, 1, "killed", 3)] * 4)
        assert sum(isinstance(one, Fenced) for one in found) == 3
        now = actors[0].read(lambda c, run=run: runs.get(c, run.id))
        assert (now.state, now.crashes) == (State.QUEUED, 1)


def test_a_burst_of_one_key_makes_one_run(actors: list[Database], race: Race) -> None:
    for i in range(25):
        key = Idempotency("POST /v1/runs", f"key-{i}", "hash")
        found = race.run([write(runs.submit, NEW, 10_000, key)] * 8)
        assert len({one.run.id for one in found}) == 1
        assert [one.replayed for one in found].count(False) == 1


def test_a_burst_does_not_pass_the_limit_of_the_queue(actors: list[Database], race: Race) -> None:
    for _ in range(10):
        queued = actors[0].read(runs.counts)[State.QUEUED]
        found = race.run([write(runs.submit, NEW, queued + 3)] * 8)
        assert sum(isinstance(one, QueueFull) for one in found) == 5


def test_a_run_moved_from_all_sides_keeps_a_whole_log(actors: list[Database], race: Race) -> None:
    run = submit(actors[0])
    for _ in range(25):
        moves = [runs.pause, runs.resume] * 4
        race.run([write(move, run.id) for move in moves])
    now = actors[0].read(lambda c: runs.get(c, run.id))
    assert terminal_events(actors[0], run) == []
    log = actors[0].read(lambda c: events.after(c, run.id, 0, 10_000))
    assert now.last_seq == len(log)
    kinds = [event.type for event in log]
    assert all(a != b for a, b in pairwise(kinds)), "no move happens twice"
