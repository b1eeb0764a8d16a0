"""Experiments in the records: queued whole, reported once, whatever happens to their runs."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pytest
from sqlalchemy import update

from core import (
    claims,
    datasets,
    experiment_moves,
    experiments,
    operation_claims,
    operations,
    runs,
)
from core.database import Database
from core.errors import (
    BadCursor,
    DatasetInUse,
    DatasetNotFound,
    ExperimentNotEnded,
    ExperimentNotFound,
    Fenced,
    IdempotencyMismatch,
    MoveForbidden,
    OperationNotFound,
    QueueFull,
    RunInUse,
)
from core.experiment_moves import REPORT, NewReport
from core.experiments import Experiment, NewExperiment, PlannedRun
from core.idempotency import Idempotency
from core.ids import is_id, new_id
from core.leases import Owner
from core.operations import Operation
from core.runs import Filter, NewRun, Run
from core.states import Outcome, State
from core.tables import datasets as dataset_rows
from model.data.dataset import describe
from tests.races import Race, write

OWNER = Owner("worker-1", "host-1", "cpu", 4321, 99)
KEY = Idempotency("POST /v1/experiments", "key", "hash-1")
ERROR = {"cause": "code", "reason": "REPORT_FAILED", "message": "KeyError: 'none'"}
REPORTED = NewReport({"verdict": "supports"}, "experiments/exp_1/e1", {"report.json": "a" * 64})


def new_run(**changes: Any) -> NewRun:
    fields: dict[str, Any] = {"spec": {"dataset": "rows"}, "spec_hash": "sha256:1"}
    fields |= {"dataset_id": "ds_rows", "device": "auto", "threads": 1, "steps": 100}
    return NewRun(**fields | changes)


def new(arms: Sequence[str] = ("none", "batch"), seeds: Sequence[int] = (0, 1)) -> NewExperiment:
    planned = [PlannedRun(arm, seed, new_run()) for seed in seeds for arm in arms]
    return NewExperiment("pair", {"factor": "norm"}, seeds, planned)


def submit(database: Database, asked: NewExperiment | None = None) -> Experiment:
    wanted = asked or new()
    return database.write(lambda c: experiments.submit(c, wanted, 1000)).experiment


def read(database: Database, experiment: Experiment) -> Experiment:
    return database.read(lambda c: experiments.get(c, experiment.id))


def run_of(database: Database, run_id: str) -> Run:
    return database.read(lambda c: runs.get(c, run_id))


def begin(database: Database, run_id: str) -> int:
    claimed = database.write(lambda c: claims.claim(c, run_id, OWNER, 45))
    assert claimed is not None
    return claimed.epoch


def end(database: Database, run_id: str, outcome: Outcome = Outcome.COMPLETED) -> None:
    epoch = begin(database, run_id)
    database.write(lambda c: claims.finish(c, run_id, epoch, outcome))


def end_all(database: Database, experiment: Experiment) -> None:
    for place in experiment.plan:
        end(database, place.run)


def reports(database: Database) -> list[Operation]:
    return database.read(operations.page).data


def claim_report(database: Database) -> Operation:
    (queued,) = reports(database)
    owned = database.write(lambda c: operation_claims.claim(c, queued.id, OWNER, 45))
    assert owned is not None
    return owned


def finish_report(database: Database, owned: Operation) -> None:
    def work(c: Any) -> None:
        operation_claims.finish(c, owned.id, owned.epoch, {"verdict": "supports"})
        experiment_moves.reported(c, str(owned.experiment_id), REPORTED)

    database.write(work)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("gpu_alive", [False, True])
def test_every_worker_may_make_a_report(
    with_dataset: Database, device: Literal["cpu", "gpu"], gpu_alive: bool
) -> None:
    made = submit(with_dataset)
    end_all(with_dataset, made)
    find = operation_claims.next_queued
    found = with_dataset.read(lambda c: find(c, device, gpu_alive))
    assert found is not None
    assert found.experiment_id == made.id
    waiting = with_dataset.read(lambda c: operation_claims.waiting(c, gpu_alive))
    assert waiting == {"cpu": 1, "gpu": 1}


def test_an_accepted_experiment_waits_with_all_of_its_runs(with_dataset: Database) -> None:
    made = with_dataset.write(lambda c: experiments.submit(c, new(), 4))
    assert not made.replayed
    found = read(with_dataset, made.experiment)
    assert found == made.experiment
    assert is_id("exp", found.id)
    assert (found.state, found.ended, found.summary, found.error) == (
        *(State.QUEUED, False),
        *(None, None),
    )
    assert [(place.arm, place.seed) for place in found.plan] == [
        *(("none", 0), ("batch", 0)),
        *(("none", 1), ("batch", 1)),
    ]
    for place in found.plan:
        run = run_of(with_dataset, place.run)
        assert (run.state, run.experiment_id) == (State.QUEUED, found.id)
    its = with_dataset.read(lambda c: runs.page(c, Filter(experiment_id=found.id))).data
    assert [run.id for run in its[::-1]] == [place.run for place in found.plan]
    assert with_dataset.read(lambda c: experiments.runs_of(c, found.id)) == its[::-1]


def test_an_experiment_is_queued_whole_or_not_at_all(with_dataset: Database) -> None:
    with pytest.raises(QueueFull) as refused:
        with_dataset.write(lambda c: experiments.submit(c, new(), 3))
    assert refused.value.metadata == {"limit": 3, "new": 4}
    lost = PlannedRun("none", 0, new_run(dataset_id="ds_none"))
    half = NewExperiment("pair", {}, [0], [*new().runs, lost])
    with pytest.raises(DatasetNotFound):
        with_dataset.write(lambda c: experiments.submit(c, half, 1000))
    assert with_dataset.read(lambda c: runs.page(c, Filter())).data == []
    assert with_dataset.read(experiments.page).data == []


def test_a_repeated_request_makes_one_experiment(with_dataset: Database) -> None:
    def ask(key: Idempotency) -> experiments.Submitted:
        return with_dataset.write(lambda c: experiments.submit(c, new(), 4, key))

    first, again = ask(KEY), ask(KEY)
    assert (again.experiment, again.replayed) == (first.experiment, True)
    with pytest.raises(IdempotencyMismatch):
        ask(Idempotency(KEY.scope, KEY.key, "hash-2"))
    assert len(with_dataset.read(lambda c: runs.page(c, Filter())).data) == 4


def test_an_unknown_experiment_is_not_found(database: Database) -> None:
    for bad in (new_id("exp"), new_id("run"), "", "\x00", "\ud800"):
        for ask in (experiments.get, experiments.cancel, experiments.delete):
            with pytest.raises(ExperimentNotFound):
                database.write(lambda c, bad=bad, ask=ask: ask(c, bad))


def test_pages_lead_from_the_newest_to_the_oldest(with_dataset: Database) -> None:
    made = [submit(with_dataset) for _ in range(3)]
    with_dataset.write(lambda c: experiments.cancel(c, made[1].id))
    cancelled = read(with_dataset, made[1])
    first = with_dataset.read(lambda c: experiments.page(c, limit=2))
    assert (first.data, first.has_more) == ([made[2], cancelled], True)
    rest = with_dataset.read(lambda c: experiments.page(c, limit=2, after=cancelled.id))
    assert (rest.data, rest.has_more) == ([made[0]], False)
    assert with_dataset.read(lambda c: experiments.page(c, State.CANCELLED)).data == [cancelled]
    for after in (new_id("exp"), "\x00"):
        with pytest.raises(BadCursor):
            with_dataset.read(lambda c, after=after: experiments.page(c, after=after))
    with pytest.raises(ValueError, match="1 to 100"):
        with_dataset.read(lambda c: experiments.page(c, limit=0))


def test_an_experiment_begins_with_its_first_run(with_dataset: Database) -> None:
    made = submit(with_dataset)
    begin(with_dataset, made.plan[1].run)
    begun = read(with_dataset, made)
    assert begun.state is State.RUNNING
    begin(with_dataset, made.plan[0].run)
    assert read(with_dataset, made).started_at == begun.started_at


def test_the_end_of_the_last_run_queues_the_report_once(with_dataset: Database) -> None:
    made = submit(with_dataset)
    first, second, third, fourth = (place.run for place in made.plan)
    end(with_dataset, first)
    with_dataset.write(lambda c: runs.cancel(c, second))
    end(with_dataset, third, Outcome.DIVERGED)
    assert reports(with_dataset) == []
    epoch = begin(with_dataset, fourth)
    with_dataset.write(lambda c: claims.fail(c, fourth, epoch, ERROR))
    (queued,) = reports(with_dataset)
    assert (queued.kind, queued.experiment_id, queued.state) == (REPORT, made.id, State.QUEUED)
    assert with_dataset.read(lambda c: operations.of_experiments(c, [made.id])) == {
        made.id: queued.id
    }
    assert read(with_dataset, made).state is State.RUNNING


def test_a_paused_run_keeps_the_report_waiting(with_dataset: Database) -> None:
    made = submit(with_dataset, new(seeds=[0]))
    with_dataset.write(lambda c: runs.pause(c, made.plan[0].run))
    end(with_dataset, made.plan[1].run)
    assert reports(with_dataset) == []
    with_dataset.write(lambda c: runs.resume(c, made.plan[0].run))
    end(with_dataset, made.plan[0].run)
    assert len(reports(with_dataset)) == 1


def test_an_experiment_without_runs_is_reported_at_once(database: Database) -> None:
    made = submit(database, NewExperiment("neuron_chain", {}, [0], []))
    (queued,) = reports(database)
    assert queued.experiment_id == made.id
    finish_report(database, claim_report(database))
    ended = read(database, made)
    assert (ended.state, ended.started_at) == (State.SUCCEEDED, ended.finished_at)


def test_a_report_and_the_end_of_its_experiment_are_one(with_dataset: Database) -> None:
    made = submit(with_dataset)
    end_all(with_dataset, made)
    owned = claim_report(with_dataset)
    with_dataset.write(lambda c: operation_claims.release(c, owned.id, owned.epoch))
    again = claim_report(with_dataset)
    with pytest.raises(Fenced):
        finish_report(with_dataset, owned)
    assert read(with_dataset, made).state is State.RUNNING
    finish_report(with_dataset, again)
    ended = read(with_dataset, made)
    assert (ended.state, ended.summary) == (State.SUCCEEDED, REPORTED.summary)
    assert (ended.prefix, ended.files) == (REPORTED.prefix, REPORTED.files)


def test_an_experiment_whose_report_fails_fails_with_it(with_dataset: Database) -> None:
    made = submit(with_dataset)
    end_all(with_dataset, made)
    owned = claim_report(with_dataset)
    with_dataset.write(lambda c: operation_claims.fail(c, owned.id, owned.epoch, ERROR))
    ended = read(with_dataset, made)
    assert (ended.state, ended.error, ended.summary) == (State.FAILED, ERROR, None)


def test_a_report_that_kills_its_owners_fails_its_experiment(with_dataset: Database) -> None:
    made = submit(with_dataset)
    end_all(with_dataset, made)
    for _ in range(2):
        owned = claim_report(with_dataset)
        lost = write(operation_claims.lost, owned.id, owned.epoch, "killed", 1)
        lost(with_dataset)
    ended = read(with_dataset, made)
    assert ended.state is State.FAILED
    assert ended.error is not None
    assert ended.error["reason"] == "POISON_OPERATION"


def test_cancelling_ends_the_runs_and_makes_no_report(with_dataset: Database) -> None:
    made = submit(with_dataset)
    done, going_on, paused, waiting = (place.run for place in made.plan)
    end(with_dataset, done)
    epoch = begin(with_dataset, going_on)
    with_dataset.write(lambda c: runs.pause(c, paused))
    cancelled = with_dataset.write(lambda c: experiments.cancel(c, made.id))
    assert cancelled.state is State.CANCELLED
    assert with_dataset.write(lambda c: experiments.cancel(c, made.id)) == cancelled
    states = [run_of(with_dataset, place.run).state for place in made.plan]
    assert states == [State.SUCCEEDED, State.STOPPING, State.CANCELLED, State.CANCELLED]
    with_dataset.write(lambda c: claims.release(c, going_on, epoch, "asked to"))
    assert run_of(with_dataset, going_on).state is State.CANCELLED
    assert reports(with_dataset) == []
    assert waiting


def test_cancelling_takes_the_report_from_its_owner(with_dataset: Database) -> None:
    made = submit(with_dataset)
    end_all(with_dataset, made)
    owned = claim_report(with_dataset)
    with_dataset.write(lambda c: experiments.cancel(c, made.id))
    with pytest.raises(Fenced):
        finish_report(with_dataset, owned)
    ended = read(with_dataset, made)
    assert (ended.state, ended.summary) == (State.CANCELLED, None)
    (withdrawn,) = reports(with_dataset)
    assert withdrawn.error is not None
    assert (withdrawn.state, withdrawn.error["reason"]) == (State.FAILED, "EXPERIMENT_CANCELLED")


def test_what_is_over_cannot_be_cancelled(with_dataset: Database) -> None:
    made = submit(with_dataset)
    end_all(with_dataset, made)
    finish_report(with_dataset, claim_report(with_dataset))
    with pytest.raises(MoveForbidden, match=r"An experiment that is succeeded cannot cancel\."):
        with_dataset.write(lambda c: experiments.cancel(c, made.id))


def test_runs_and_their_dataset_stay_until_the_report_is_there(with_dataset: Database) -> None:
    facts = describe(np.zeros((4, 2)), np.arange(4) % 2, ("a", "b")).facts.to_json()
    with_dataset.write(lambda c: c.execute(update(dataset_rows).values(facts=facts)) and None)
    made = submit(with_dataset)
    end_all(with_dataset, made)
    run_id = made.plan[0].run
    with pytest.raises(RunInUse) as refused:
        with_dataset.write(lambda c: runs.delete(c, run_id))
    assert refused.value.metadata == {"experiment": made.id}
    with pytest.raises(DatasetInUse):
        with_dataset.write(lambda c: datasets.delete(c, "ds_rows"))
    finish_report(with_dataset, claim_report(with_dataset))
    with_dataset.write(lambda c: runs.delete(c, run_id))
    assert run_id not in with_dataset.read(lambda c: experiments.standings(c, [made]))
    assert read(with_dataset, made).plan == made.plan


def test_a_deleted_experiment_leaves_its_runs(with_dataset: Database) -> None:
    made = with_dataset.write(lambda c: experiments.submit(c, new(), 1000, KEY)).experiment
    with pytest.raises(ExperimentNotEnded):
        with_dataset.write(lambda c: experiments.delete(c, made.id))
    end_all(with_dataset, made)
    owned = claim_report(with_dataset)
    finish_report(with_dataset, owned)
    deleted = with_dataset.write(lambda c: experiments.delete(c, made.id))
    assert deleted.prefix == REPORTED.prefix
    with pytest.raises(ExperimentNotFound):
        read(with_dataset, made)
    with pytest.raises(OperationNotFound):
        with_dataset.read(lambda c: operations.get(c, owned.id))
    for place in made.plan:
        assert run_of(with_dataset, place.run).experiment_id is None
    again = with_dataset.write(lambda c: experiments.submit(c, new(), 1000, KEY))
    assert not again.replayed


def test_standings_say_how_far_runs_are(with_dataset: Database) -> None:
    made, other = submit(with_dataset), submit(with_dataset)
    end(with_dataset, made.plan[0].run)
    found = with_dataset.read(lambda c: experiments.standings(c, [made, other]))
    assert len(found) == 8
    first = found[made.plan[0].run]
    assert (first.state, first.outcome, first.step) == (State.SUCCEEDED, Outcome.COMPLETED, 100)
    assert found[other.plan[0].run].steps == 100


def test_only_files_of_the_report_that_counts_are_named(with_dataset: Database) -> None:
    made = submit(with_dataset)
    end_all(with_dataset, made)
    prefix = experiments.report_prefix(made.id, 2)
    kept = [f"{prefix}/report.json", f"{prefix}/figure-curves.svg"]
    dead = [f"{experiments.report_prefix(made.id, 1)}/report.json", "experiments/odd"]
    assert with_dataset.read(lambda c: experiments.named(c, kept + dead)) == frozenset()
    owned = claim_report(with_dataset)
    told = NewReport({"verdict": "supports"}, prefix, {})
    with_dataset.write(lambda c: experiment_moves.reported(c, str(owned.experiment_id), told))
    assert with_dataset.read(lambda c: experiments.named(c, kept + dead)) == set(kept)


def test_of_runs_that_end_together_one_queues_the_report(
    actors: list[Database], race: Race
) -> None:
    for _ in range(5):
        made = submit(actors[0], new(seeds=range(4)))
        epochs = {place.run: begin(actors[0], place.run) for place in made.plan}
        ends: list[Callable[[Database], Any]] = [
            write(claims.finish, run, epoch, Outcome.COMPLETED) for run, epoch in epochs.items()
        ]
        race.run(ends)
        queued = [one for one in reports(actors[0]) if one.experiment_id == made.id]
        assert len(queued) == 1


def test_a_cancellation_and_the_last_end_agree(actors: list[Database], race: Race) -> None:
    for _ in range(5):
        made = submit(actors[0], new(seeds=[0]))
        epochs = {place.run: begin(actors[0], place.run) for place in made.plan}
        ends: list[Callable[[Database], Any]] = [
            write(claims.finish, run, epoch, Outcome.COMPLETED) for run, epoch in epochs.items()
        ]
        race.run([*ends, write(experiments.cancel, made.id)])
        found = read(actors[0], made)
        queued = [one for one in reports(actors[0]) if one.experiment_id == made.id]
        assert found.state is State.CANCELLED
        assert all(one.state is State.FAILED for one in queued)
        assert all(run_of(actors[0], place.run).ended for place in made.plan)
