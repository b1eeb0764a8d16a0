"""Runs as their users see them: submit, read, list, pause, resume, cancel, delete.

What an owner does with a run it holds is in `core.claims`. Every function takes the connection
of a transaction that its caller opened.
"""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, exists, func, insert, select
from sqlalchemy import delete as sql_delete
from sqlalchemy.sql.elements import ColumnElement

from core import checkpoints, idempotency, leases, uses
from core.clock import now
from core.errors import (
    BadCursor,
    MoveForbidden,
    RunNotEnded,
    RunNotFound,
)
from core.events import NewEvent, record
from core.idempotency import Idempotency
from core.ids import is_id, new_id
from core.leases import NEVER_STARTED
from core.moves import change, locked
from core.record import ResumePoint, Run, from_columns, from_row
from core.states import State
from core.tables import run_labels, runs

__all__ = ["Deleted", "Filter", "NewRun", "Page", "ResumePoint", "Run", "Submitted"]

SPEC_VERSION = 2  # of the spec's format; workers leave newer ones to newer workers
MAX_PAGE = 100


@dataclass(frozen=True)
class NewRun:
    """A checked spec, ready to wait for a slot."""

    spec: dict[str, Any]  # with its defaults filled in
    spec_hash: str
    dataset_id: str
    device: str  # auto, cpu or cuda
    threads: int
    steps: int  # optimizer steps the budget amounts to
    name: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    experiment_id: str | None = None  # that planned it


@dataclass(frozen=True)
class Submitted:
    """An accepted run, or the one that an earlier request with the same key made."""

    run: Run
    replayed: bool


@dataclass(frozen=True)
class Filter:
    """Which runs, and which page of them."""

    state: State | None = None
    labels: dict[str, str] = field(default_factory=dict)  # all must match
    limit: int = 20  # 1 to 100
    after: str | None = None  # id of the last run of the page before
    experiment_id: str | None = None  # that planned them

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_PAGE:
            raise ValueError(f"expected a limit of 1 to {MAX_PAGE}, got {self.limit}")


@dataclass(frozen=True)
class Page:
    """Newest first."""

    data: list[Run]
    has_more: bool


@dataclass(frozen=True)
class Deleted:
    """A run that is gone, and what is left of it in the file store."""

    run: Run
    prefix: str  # everything below it belonged to this run
    keys: frozenset[str]  # the files its records named, wherever they lie


_INSERT_RUN = insert(runs)
_INSERT_LABELS = insert(run_labels)
_GET = select(runs).where(runs.c.id == bindparam("run"))

# Where each request leads; and where it has already led, so that repeating it is harmless.
_PAUSE = {State.QUEUED: State.PAUSED, State.RUNNING: State.PAUSING}
_RESUME = {State.PAUSED: State.QUEUED}
_CANCEL = {
    State.QUEUED: State.CANCELLED,
    State.PAUSED: State.CANCELLED,
    State.RUNNING: State.STOPPING,
    State.PAUSING: State.STOPPING,
}
_PAUSE_DONE = frozenset({State.PAUSING, State.PAUSED})
_RESUME_DONE = frozenset({State.QUEUED, State.RUNNING})
_CANCEL_DONE = frozenset({State.STOPPING, State.CANCELLED})
_TOLD = {
    State.PAUSING: "Asked to pause; the worker saves where it stands.",
    State.PAUSED: "Paused before it had an owner.",
    State.QUEUED: "Asked to resume; waits for a slot.",
    State.STOPPING: "Asked to cancel; the worker is ending.",
    State.CANCELLED: "Cancelled before it had an owner.",
}


def submit(
    connection: Connection, new: NewRun, queue_limit: int, asked: Idempotency | None = None
) -> Submitted:
    """Accept a run: once this transaction is committed, it is not lost.

    Args:
        queue_limit: runs that may wait at once.
        asked: the client's idempotency key.

    Raises:
        IdempotencyMismatch, IdempotencyInFlight: see `core.idempotency`.
        DatasetNotFound: the dataset has been deleted meanwhile.
        QueueFull: that many runs wait.
    """
    run_id = new_id("run")
    earlier = idempotency.reserve(connection, asked, run_id) if asked else None
    if earlier is not None:
        return Submitted(get(connection, earlier), replayed=True)
    uses.hold_dataset(connection, new.dataset_id)
    leases.refuse_beyond(connection, runs, queue_limit)
    return Submitted(insert_one(connection, run_id, new), replayed=False)


def get(connection: Connection, run_id: str) -> Run:
    """The run with this id.

    Raises:
        RunNotFound: there is none.
    """
    if not is_id("run", run_id):
        raise RunNotFound()
    row = connection.execute(_GET, {"run": run_id}).one_or_none()
    if row is None:
        raise RunNotFound()
    return from_row(row)


def page(connection: Connection, wanted: Filter) -> Page:
    """One page of the runs that match, newest first.

    Raises:
        BadCursor: `after` is no run's id.
    """
    query = select(runs)
    if wanted.state is not None:
        query = query.where(runs.c.state == wanted.state.value)
    if wanted.experiment_id is not None:
        query = query.where(runs.c.experiment_id == wanted.experiment_id)
    for key, value in wanted.labels.items():
        query = query.where(_has_label(key, value))
    if wanted.after is not None:
        query = query.where(runs.c.id < _cursor(connection, wanted.after))
    rows = connection.execute(query.order_by(runs.c.id.desc()).limit(wanted.limit + 1)).all()
    return Page([from_row(row) for row in rows[: wanted.limit]], len(rows) > wanted.limit)


def pause(connection: Connection, run_id: str) -> Run:
    """Ask a run to stop where it stands; the same run again where it has been asked before.

    Raises:
        RunNotFound: there is no such run.
        MoveForbidden: it is ending or has ended.
    """
    return _ask(connection, run_id, "pause", _PAUSE, _PAUSE_DONE)


def resume(connection: Connection, run_id: str) -> Run:
    """Let a paused run wait for a slot; the same run again where it waits or trains.

    Raises:
        RunNotFound: there is no such run.
        MoveForbidden: it is still pausing, is ending, or has ended.
    """
    return _ask(connection, run_id, "resume", _RESUME, _RESUME_DONE)


def cancel(connection: Connection, run_id: str) -> Run:
    """End a run for good; the same run again where it has been asked before.

    Raises:
        RunNotFound: there is no such run.
        MoveForbidden: it has succeeded or failed.
    """
    return _ask(connection, run_id, "cancel", _CANCEL, _CANCEL_DONE)


def delete(connection: Connection, run_id: str) -> Deleted:
    """Delete an ended run with its events, points, labels, checkpoints and idempotency key.

    Its checkpoints take their revisions and ended operations along. The files are the caller's
    to delete, after the commit.

    Raises:
        RunNotFound: there is no such run.
        RunNotEnded: it can still change.
        RunInUse: an experiment without its report needs it.
        CheckpointInUse: a model serves a checkpoint of it, or an operation works on one.
    """
    run = locked(connection, run_id)
    if not run.ended:
        raise RunNotEnded(run.state)
    uses.refuse_needed(connection, run.experiment_id)
    uses.let_go_of_run(connection, run_id)
    keys = checkpoints.keys(connection, run_id)
    idempotency.forget(connection, run_id)
    connection.execute(sql_delete(runs).where(runs.c.id == run_id))
    return Deleted(run, prefix=f"runs/{run_id}/", keys=keys)


def counts(connection: Connection) -> dict[State, int]:
    """How many runs stand in each state; states without a run are 0."""
    grouped = connection.execute(select(runs.c.state, func.count()).group_by(runs.c.state))
    found = {State(state): int(count) for state, count in grouped}
    return {state: found.get(state, 0) for state in State}


def oldest_queued_at(connection: Connection) -> float | None:
    """When the run that has waited longest was submitted; None where none waits."""
    waiting = select(func.min(runs.c.created_at)).where(runs.c.state == State.QUEUED.value)
    return connection.execute(waiting).scalar()


def insert_one(connection: Connection, run_id: str, new: NewRun) -> Run:
    """Queue a run under an id of its own; whoever calls holds its dataset and minds the limit."""
    at = now(connection)
    asked: dict[str, Any] = {"name": new.name, "spec": new.spec, "spec_hash": new.spec_hash}
    asked |= {"dataset_id": new.dataset_id, "device": new.device, "threads": new.threads}
    asked |= {"labels": new.labels, "findings": new.findings, "steps": new.steps}
    asked |= {"experiment_id": new.experiment_id}
    start = {"state": State.QUEUED.value, "spec_version": SPEC_VERSION, "turn": NEVER_STARTED}
    counted = {"step": 0, "epoch": 0, "attempts": 0, "crashes": 0, "last_seq": 1}
    times = {"not_before": 0.0, "created_at": at}
    row = {"id": run_id, "metrics": {}} | asked | start | counted | times
    connection.execute(_INSERT_RUN, row)
    if new.labels:
        pairs = [{"run_id": run_id, "key": k, "value": v} for k, v in new.labels.items()]
        connection.execute(_INSERT_LABELS, pairs)
    record(connection, run_id, 1, NewEvent("queued", "Accepted; waits for a slot."))
    return _new_run(row)


def _new_run(row: dict[str, Any]) -> Run:
    """What reading the row just written would give, without reading it."""
    columns = dict.fromkeys(runs.c.keys()) | row
    return from_columns(columns)


def _has_label(key: str, value: str) -> ColumnElement[bool]:
    return exists().where(
        run_labels.c.run_id == runs.c.id, run_labels.c.key == key, run_labels.c.value == value
    )


def _cursor(connection: Connection, after: str) -> str:
    try:
        return get(connection, after).id
    except RunNotFound as error:
        raise BadCursor() from error


def _ask(
    connection: Connection,
    run_id: str,
    move: str,
    leads_to: dict[State, State],
    done: frozenset[State],
) -> Run:
    run = locked(connection, run_id)
    if run.state in done:
        return run
    target = leads_to.get(run.state)
    if target is None:
        raise MoveForbidden(move, run.state)
    values: dict[str, Any] = {"state": target.value}
    if target is State.CANCELLED:
        values["finished_at"] = now(connection)
    told = NewEvent(target.value, _TOLD[target], data={"from": run.state.value})
    condition = (runs.c.id == run_id) & (runs.c.state == run.state.value)
    moved = change(connection, condition, values, lambda _: told)
    assert moved is not None  # the row is locked
    return moved
