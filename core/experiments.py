"""Experiments as their users see them: submit, read, list, cancel, delete.

An experiment is a plan of ordinary runs with a report. How it moves with them is in
`core.experiment_moves`; what a kind plans and reports, the records do not know.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update
from sqlalchemy import delete as sql_delete

from core import experiment_moves, idempotency, leases, operation_claims, uses
from core import runs as run_records
from core.clock import now
from core.errors import BadCursor, ExperimentNotEnded, ExperimentNotFound, MoveForbidden
from core.idempotency import Idempotency
from core.ids import is_id, new_id
from core.record import Run
from core.record import from_row as run_from_row
from core.runs import NewRun
from core.states import ENDED, Outcome, State
from core.tables import experiments, operations, runs

MAX_PAGE = 100
FOLDER = "experiments"  # of the store; a report's files lie below the experiment's id


@dataclass(frozen=True)
class PlannedRun:
    """A checked run, ready to wait for a slot, and what it is compared as."""

    arm: str
    seed: int
    run: NewRun


@dataclass(frozen=True)
class NewExperiment:
    """A checked experiment, ready to be queued with all of its runs."""

    kind: str
    params: dict[str, Any]  # with their defaults filled in
    seeds: Sequence[int]
    runs: Sequence[PlannedRun]  # none: the report alone is made


@dataclass(frozen=True)
class Place:
    """A run's place in the plan."""

    run: str  # id; the run may be deleted once the report is there
    arm: str
    seed: int


@dataclass(frozen=True)
class Experiment:
    """Everything that is known of an experiment. Times are seconds since 1970."""

    id: str
    kind: str
    params: dict[str, Any]
    seeds: list[int]
    plan: list[Place]
    state: State  # queued, running, succeeded, failed or cancelled
    summary: dict[str, Any] | None  # claim, verdict and effect, once succeeded
    prefix: str | None  # of its report's files in the store
    files: dict[str, str] | None  # {name below the prefix: sha256 in hex}
    error: dict[str, Any] | None  # {cause, reason, message}, once failed
    created_at: float
    started_at: float | None
    finished_at: float | None

    @property
    def ended(self) -> bool:
        """Whether its state can never change again."""
        return self.state in ENDED


@dataclass(frozen=True)
class Standing:
    """How far one run is."""

    state: State
    outcome: Outcome | None
    step: int  # optimizer steps done
    steps: int  # optimizer steps asked for


@dataclass(frozen=True)
class Submitted:
    """An accepted experiment, or the one that an earlier request with the same key made."""

    experiment: Experiment
    replayed: bool


@dataclass(frozen=True)
class Page:
    """Newest first."""

    data: list[Experiment]
    has_more: bool


_GET = select(experiments).where(experiments.c.id == bindparam("experiment"))


def submit(
    connection: Connection, new: NewExperiment, queue_limit: int, asked: Idempotency | None = None
) -> Submitted:
    """Accept an experiment with all of its runs: once this is committed, none is lost.

    Args:
        queue_limit: runs that may wait at once.
        asked: the client's idempotency key.

    Raises:
        IdempotencyMismatch, IdempotencyInFlight: see `core.idempotency`.
        DatasetNotFound: a dataset has been deleted meanwhile.
        QueueFull: more runs would wait than may.
    """
    experiment_id = new_id("exp")
    earlier = idempotency.reserve(connection, asked, experiment_id) if asked else None
    if earlier is not None:
        return Submitted(get(connection, earlier), replayed=True)
    for dataset_id in sorted({planned.run.dataset_id for planned in new.runs}):
        uses.hold_dataset(connection, dataset_id)
    if new.runs:
        leases.refuse_beyond(connection, runs, queue_limit, len(new.runs))
    plan = [_insert_run(connection, experiment_id, planned) for planned in new.runs]
    asked_for = {"kind": new.kind, "params": new.params, "seeds": list(new.seeds), "plan": plan}
    start = {"id": experiment_id, "state": State.QUEUED.value, "created_at": now(connection)}
    connection.execute(insert(experiments), asked_for | start)
    if not plan:
        experiment_moves.queue_report(connection, experiment_id)
    return Submitted(get(connection, experiment_id), replayed=False)


def get(connection: Connection, experiment_id: str) -> Experiment:
    """The experiment with this id.

    Raises:
        ExperimentNotFound: there is none.
    """
    if not is_id("exp", experiment_id):
        raise ExperimentNotFound()
    row = connection.execute(_GET, {"experiment": experiment_id}).one_or_none()
    if row is None:
        raise ExperimentNotFound()
    return _from_row(row)


def page(
    connection: Connection, state: State | None = None, limit: int = 20, after: str | None = None
) -> Page:
    """One page of all experiments, newest first.

    Args:
        state: only experiments in this state.
        limit: 1 to 100.
        after: id of the last one of the page before.

    Raises:
        BadCursor: `after` is no experiment's id.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"expected a limit of 1 to {MAX_PAGE}, got {limit}")
    query = select(experiments).order_by(experiments.c.id.desc()).limit(limit + 1)
    if state is not None:
        query = query.where(experiments.c.state == state.value)
    if after is not None:
        query = query.where(experiments.c.id < _cursor(connection, after))
    rows = connection.execute(query).all()
    return Page([_from_row(row) for row in rows[:limit]], len(rows) > limit)


def standings(connection: Connection, of: Sequence[Experiment]) -> dict[str, Standing]:
    """How far the runs of some experiments are, by id; a deleted run is left out."""
    columns = (runs.c.id, runs.c.state, runs.c.outcome, runs.c.step, runs.c.steps)
    wanted = runs.c.experiment_id.in_([experiment.id for experiment in of])
    return {
        row.id: Standing(
            State(row.state), Outcome(row.outcome) if row.outcome else None, row.step, row.steps
        )
        for row in connection.execute(select(*columns).where(wanted))
    }


def cancel(connection: Connection, experiment_id: str) -> Experiment:
    """End an experiment and its unended runs for good; no report is made.

    The experiment is cancelled at once; a run that has an owner is stopping first. The same
    experiment again where it has been cancelled before.

    Raises:
        ExperimentNotFound: there is no such experiment.
        MoveForbidden: it has succeeded or failed.
    """
    found = _locked(connection, experiment_id)
    if found.state is State.CANCELLED:
        return found
    if found.ended:
        raise MoveForbidden("cancel", found.state, "An experiment")
    # Before its runs end, or the last one of them would queue the report.
    ended = {"state": State.CANCELLED.value, "finished_at": now(connection)}
    connection.execute(update(experiments).where(experiments.c.id == found.id).values(**ended))
    operation_claims.withdraw(connection, found.id)
    for run_id, standing in sorted(standings(connection, [found]).items()):
        if standing.state not in ENDED:
            run_records.cancel(connection, run_id)
    return get(connection, experiment_id)


def delete(connection: Connection, experiment_id: str) -> Experiment:
    """Delete an ended experiment with its report and its idempotency key; its runs stay.

    The files below `experiments/<id>/` are the caller's to delete, after the commit.

    Returns:
        The experiment as it was.

    Raises:
        ExperimentNotFound: there is no such experiment.
        ExperimentNotEnded: it waits for runs or for its report.
    """
    found = _locked(connection, experiment_id)
    if not found.ended:
        raise ExperimentNotEnded(found.state)
    idempotency.forget(connection, found.id)
    freed = update(runs).where(runs.c.experiment_id == found.id)
    connection.execute(freed.values(experiment_id=None))
    connection.execute(sql_delete(operations).where(operations.c.experiment_id == found.id))
    connection.execute(sql_delete(experiments).where(experiments.c.id == found.id))
    return found


def runs_of(connection: Connection, experiment_id: str) -> list[Run]:
    """The runs of an experiment, in the order in which they were planned; deleted ones are not."""
    rows = connection.execute(
        select(runs).where(runs.c.experiment_id == experiment_id).order_by(runs.c.id)
    )
    return [run_from_row(row) for row in rows]


def report_prefix(experiment_id: str, epoch: int) -> str:
    """Where the owner of a report's operation puts its files.

    The epoch keeps an owner that was given up from writing over its successor's files.
    """
    return f"{FOLDER}/{experiment_id}/e{epoch}"


def named(connection: Connection, keys: Sequence[str]) -> frozenset[str]:
    """Those of some keys below `experiments/` that the report of an experiment has."""
    prefixes = {key.rpartition("/")[0] for key in keys}
    ids = {key.split("/")[1] for key in keys if key.count("/") > 1}
    known = select(experiments.c.prefix).where(experiments.c.id.in_(sorted(ids)))
    kept = prefixes & {prefix for (prefix,) in connection.execute(known)}
    return frozenset(key for key in keys if key.rpartition("/")[0] in kept)


def _insert_run(connection: Connection, experiment_id: str, planned: PlannedRun) -> dict[str, Any]:
    run_id = new_id("run")
    run_records.insert_one(connection, run_id, replace(planned.run, experiment_id=experiment_id))
    return {"run": run_id, "arm": planned.arm, "seed": planned.seed}


def _locked(connection: Connection, experiment_id: str) -> Experiment:
    """The experiment, which nobody else changes until this transaction ends.

    Whoever moves a run or a report locks that before the experiment, and so does this.
    """
    if not is_id("exp", experiment_id):
        raise ExperimentNotFound()
    for table in (runs, operations):
        its = select(table.c.id).where(table.c.experiment_id == experiment_id)
        connection.execute(its.order_by(table.c.id).with_for_update()).all()
    lock = select(experiments.c.id).where(experiments.c.id == experiment_id)
    connection.execute(lock.with_for_update()).all()
    return get(connection, experiment_id)


def _cursor(connection: Connection, after: str) -> str:
    try:
        return get(connection, after).id
    except ExperimentNotFound as error:
        raise BadCursor() from error


def _from_row(row: Row[Any]) -> Experiment:
    columns = dict(row._mapping)
    columns["state"] = State(columns["state"])
    columns["plan"] = [Place(**place) for place in columns["plan"]]
    return Experiment(**columns)
