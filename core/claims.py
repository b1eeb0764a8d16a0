"""What an owner does with a run: claim it, keep it, report, and let go of it.

A claim counts the run's epoch up. Every later write of that owner is a compare-and-set on
(id, epoch) while the run is owned; where it fails the owner is fenced and must stop at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, case, func, null, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from core import checkpoints, leases, measurements, metrics
from core.checkpoints import NewCheckpoint, Origin
from core.clock import now
from core.events import NewEvent, append
from core.leases import INTERRUPTED, Owner
from core.measurements import Measurement
from core.metrics import Point
from core.moves import NO_OWNER, change
from core.owned import is_owned, keep, let_go, locked_owned, owned_update
from core.record import ResumePoint, Run, from_row
from core.runs import SPEC_VERSION
from core.states import Outcome, State
from core.tables import runs
from core.told import claimed, differs, ended, failed, freed, measured, restored, saved, training

__all__ = ["Measurement", "NewCheckpoint", "Owner", "Point", "Report", "Restored", "ResumePoint"]

_LET_GO = {  # where a run goes when its owner lets go of it before its end
    State.RUNNING: State.QUEUED,
    State.PAUSING: State.PAUSED,
    State.STOPPING: State.CANCELLED,
}

GAP = "train_eval_gap"  # how the names of a checkpoint's gaps begin
_METRICS = select(runs.c.metrics).where(runs.c.id == bindparam("run"))


@dataclass(frozen=True)
class Restored:
    """A step whose batch was taken back out of the running statistics."""

    step: int
    layers: Sequence[str]  # where a value was not finite


@dataclass(frozen=True)
class Report:
    """What an owner tells about once a second."""

    step: int  # optimizer steps done
    steps_per_second: float | None = None
    points: Sequence[Point] = ()  # since the report before
    evaluated: bool = False  # held-out rows were scored, which the run's log tells
    first_step_at: float | None = None  # the claim's first step, seconds since 1970
    restored: Sequence[Restored] = ()  # steps since the report before
    measured: Sequence[Measurement] = ()  # since then, too


def next_queued(
    connection: Connection, device: Literal["cpu", "gpu"], gpu_alive: bool, threads: int = 64
) -> Run | None:
    """The run that a free slot should claim: interrupted ones first, then the oldest.

    Args:
        device: what the slot has. `auto` runs go to a GPU while a GPU worker is alive.
        threads: CPU threads the slot can reserve.
    """
    suits = leases.suits(runs, device, gpu_alive, threads)
    query = select(runs).where(_claimable(connection), suits)
    row = connection.execute(query.order_by(runs.c.turn, runs.c.id).limit(1)).one_or_none()
    return None if row is None else from_row(row)


def waiting(connection: Connection, gpu_alive: bool) -> dict[Literal["cpu", "gpu"], int]:
    """How many queued runs each queue's workers could claim now."""
    return leases.waiting(connection, runs, _claimable(connection), gpu_alive)


def claim(connection: Connection, run_id: str, owner: Owner, lease_seconds: float) -> Run | None:
    """Become the owner of a queued run; None where another was faster or it may not start yet.

    Points and measurements that a dead owner wrote beyond the resume point are gone afterwards:
    they are written again, exactly as they were.
    """
    values = leases.start(connection, runs, owner, lease_seconds)
    values |= {"step": func.coalesce(runs.c.resume_step, 0), "steps_per_second": None}
    waits = leases.claimable(connection, runs)
    run = change(connection, (runs.c.id == run_id) & waits, values, claimed)
    if run is None or run.attempts == 1:
        return run
    return _rewound(connection, run)


def attach(
    connection: Connection, run_id: str, epoch: int, pid: int, pid_start: int, lease_seconds: float
) -> State:
    """Name the trainer process, so that it can be killed before anybody else claims its run.

    Renews the lease: preparing the run may have taken some of it.

    Raises:
        Fenced: the claim is over.
    """
    trainer = {"pid": pid, "pid_start": pid_start}
    return keep(connection, run_id, epoch, trainer | leases.lasting(connection, lease_seconds))


def renew(connection: Connection, run_id: str, epoch: int, lease_seconds: float) -> State:
    """Hold the run for `lease_seconds` from now; its state says what its users wish.

    Raises:
        Fenced: the claim is over.
    """
    return keep(connection, run_id, epoch, leases.lasting(connection, lease_seconds))


def report(connection: Connection, run_id: str, epoch: int, told: Report) -> State:
    """Write progress, metric points and measurements, and log evaluations.

    The points are summed up in the run's row.

    Raises:
        Fenced: the claim is over.
    """
    speed = told.steps_per_second
    values: dict[str, Any] = {"step": told.step, "progress_at": now(connection)}
    values["steps_per_second"] = speed if speed is not None and isfinite(speed) else None
    values |= _summed(connection, run_id, told.points)
    state = keep(connection, run_id, epoch, values)
    metrics.add(connection, run_id, told.points)
    measurements.add(connection, run_id, told.measured)
    for one in told.restored:
        append(connection, run_id, restored(one.step, one.layers))
    if told.first_step_at is not None:
        append(connection, run_id, training(told.step, epoch, told.first_step_at))
    if told.evaluated:
        names = {point.name for point in told.points}
        new = {name: one for name, one in values.get("metrics", {}).items() if name in names}
        append(connection, run_id, measured(told.step, values["steps_per_second"], new))
    return state


def save_resume(
    connection: Connection, run_id: str, epoch: int, point: ResumePoint
) -> frozenset[str]:
    """Make two files the ones that training resumes from.

    Returns:
        The keys of the former resume point that no record names any more: delete those files
        after the commit.

    Raises:
        Fenced: the claim is over, or a later step counts already.
    """
    former = checkpoints.keys(connection, run_id)
    values = {"resume_step": point.step, "resume_key": point.resume_key}
    values |= {"resume_sha256": point.resume_sha256}
    values |= {"checkpoint_key": point.checkpoint_key}
    values |= {"checkpoint_sha256": point.checkpoint_sha256}
    rises = or_(runs.c.resume_step.is_(None), runs.c.resume_step <= point.step)
    owned_update(connection, run_id, epoch, values, rises)
    return former - checkpoints.keys(connection, run_id)


def drop_resume(connection: Connection, run_id: str, epoch: int, why: str) -> frozenset[str]:
    """Give up a resume point that cannot be read: this claim trains from step 0.

    Returns:
        As `save_resume`.

    Raises:
        Fenced: the claim is over.
    """
    former = checkpoints.keys(connection, run_id)
    names = ("resume_step", "resume_key", "resume_sha256", "checkpoint_key", "checkpoint_sha256")
    values: dict[str, Any] = dict.fromkeys(names) | {"step": 0, "metrics": {}, "crash_step": -1}
    keep(connection, run_id, epoch, values)
    metrics.delete_beyond(connection, run_id, -1)
    measurements.delete_beyond(connection, run_id, -1)
    append(connection, run_id, NewEvent("warning", why, "warning", {"epoch": epoch}))
    return former - checkpoints.keys(connection, run_id)


def add_checkpoint(connection: Connection, run_id: str, epoch: int, new: NewCheckpoint) -> str:
    """List a checkpoint that the spec asked for and return its id.

    A step that has one keeps it: what is listed never changes, whatever died in between.

    Raises:
        Fenced: the claim is over.
    """
    run = locked_owned(connection, run_id, epoch)
    if gaps := _gaps(new):  # written again where a resume took them back
        keep(connection, run_id, epoch, _summed(connection, run_id, gaps))
        metrics.add(connection, run_id, gaps)
    listed = checkpoints.at_step(connection, run_id, new.step)
    if listed is not None:
        if listed.sha256 != new.sha256:
            append(connection, run_id, differs(listed.id, new.step))
        return listed.id
    origin = Origin(run.spec, run_id, epoch)
    checkpoint_id = checkpoints.insert_one(connection, new, origin)
    values = {"checkpoint_id": checkpoint_id}
    change(connection, is_owned(run_id, epoch), values, lambda _: saved(checkpoint_id, new))
    return checkpoint_id


def choose_checkpoint(connection: Connection, run_id: str, epoch: int, checkpoint_id: str) -> None:
    """Make a listed checkpoint the run's own, which need not be the newest: `select: best`.

    Raises:
        Fenced: the claim is over.
    """
    keep(connection, run_id, epoch, {"checkpoint_id": checkpoint_id})


def finish(
    connection: Connection,
    run_id: str,
    epoch: int,
    outcome: Outcome,
    data: dict[str, Any] | None = None,
) -> Run:
    """End a run that was trained; one that was asked to cancel meanwhile is cancelled.

    Args:
        data: of the event, JSON-ready.

    Raises:
        Fenced: the claim is over.
    """
    stopping = runs.c.state == State.STOPPING.value
    done = runs.c.steps if outcome is Outcome.COMPLETED else runs.c.step
    values: dict[str, Any] = NO_OWNER | {
        "state": case((stopping, State.CANCELLED.value), else_=State.SUCCEEDED.value),
        "outcome": case((stopping, null()), else_=outcome.value),
        "step": case((stopping, runs.c.step), else_=done),
        "steps_per_second": runs.c.steps_per_second,  # the last reading stays
        "finished_at": now(connection),
    }
    about = {"outcome": outcome.value, "epoch": epoch} | (data or {})
    return let_go(connection, run_id, epoch, values, lambda run: ended(run, about))


def fail(connection: Connection, run_id: str, epoch: int, error: dict[str, str]) -> Run:
    """End a run that cannot be trained.

    Args:
        error: cause (user, infra or code), reason (stable UPPER_SNAKE) and message.

    Raises:
        Fenced: the claim is over.
    """
    values = NO_OWNER | _failed(connection, error)
    return let_go(connection, run_id, epoch, values, lambda _: failed(error, {"epoch": epoch}))


def release(
    connection: Connection, run_id: str, epoch: int, reason: str, delay_seconds: float = 0
) -> Run:
    """Let go of a run before its end: at a shutdown, or because its users wished it.

    A running one waits for the next owner, a pausing one is paused, a stopping one cancelled.

    Args:
        reason: a sentence for the run's log.
        delay_seconds: how long nobody may claim it, where what failed needs time.

    Raises:
        Fenced: the claim is over.
    """
    run = locked_owned(connection, run_id, epoch)
    values = _freed(connection, run) | {"not_before": now(connection) + delay_seconds}
    about = {"reason": reason, "epoch": epoch}
    return let_go(connection, run_id, epoch, values, lambda run: freed(run, about))


def lost(connection: Connection, run_id: str, epoch: int, detail: str, max_crashes: int) -> Run:
    """Take a run from an owner that died, as `release` does, and count it.

    The count starts again at 1 when the resume step has risen since the loss before; a
    running run whose count passes `max_crashes` fails, for it would kill its owners for ever.

    Args:
        detail: how the owner died, for the run's log.

    Raises:
        Fenced: the claim is over already.
    """
    run = locked_owned(connection, run_id, epoch)
    crashes, step = _crashes(connection, run)
    counted = {"crashes": crashes, "crash_step": step}
    about: dict[str, Any] = {"reason": detail, "epoch": epoch, "crashes": crashes}
    if run.state is State.RUNNING and crashes > max_crashes:
        error = _poison(crashes, detail)
        values = NO_OWNER | _failed(connection, error) | counted
        return let_go(connection, run_id, epoch, values, lambda _: failed(error, about))
    values = _freed(connection, run) | counted
    return let_go(connection, run_id, epoch, values, lambda run: freed(run, about))


def expired(connection: Connection, grace_seconds: float) -> list[Run]:
    """The owned runs whose lease ended more than `grace_seconds` ago."""
    return [from_row(row) for row in leases.expired(connection, runs, grace_seconds)]


def owned_by_host(connection: Connection, host: str) -> list[Run]:
    """The owned runs whose trainer is on this host, dead or alive."""
    return [from_row(row) for row in leases.owned_by_host(connection, runs, host)]


def _summed(connection: Connection, run_id: str, points: Sequence[Point]) -> dict[str, Any]:
    """The run's summary of metrics after more points, if there are any."""
    if not points:
        return {}
    # Nobody but this owner changes the summary: it may be read before the comparison.
    before = connection.execute(_METRICS, {"run": run_id}).scalar() or {}
    return {"metrics": metrics.summed(before, points)}


def _gaps(new: NewCheckpoint) -> list[Point]:
    """What only a checkpoint is scored for: its train/eval gaps, as points of the run."""
    found = {name: value for name, value in new.metrics.items() if name.startswith(GAP)}
    return [Point(name, new.step, nan if value is None else value) for name, value in found.items()]


def _claimable(connection: Connection) -> ColumnElement[bool]:
    return leases.claimable(connection, runs) & (runs.c.spec_version <= SPEC_VERSION)


def _rewound(connection: Connection, run: Run) -> Run:
    """A run whose points, summary and measurements are those of its resume step."""
    beyond = run.resume.step if run.resume else -1
    measurements.delete_beyond(connection, run.id, beyond)
    if metrics.delete_beyond(connection, run.id, beyond) == 0:
        return run
    summary = metrics.summary(connection, run.id)
    connection.execute(update(runs).where(runs.c.id == run.id).values(metrics=summary))
    return replace(run, metrics=summary)


def _freed(connection: Connection, run: Run) -> dict[str, Any]:
    target = _LET_GO[run.state]
    values = NO_OWNER | {"state": target.value, "turn": INTERRUPTED}
    if target is State.CANCELLED:
        values["finished_at"] = now(connection)
    return values


def _failed(connection: Connection, error: dict[str, str]) -> dict[str, Any]:
    return {"state": State.FAILED.value, "error": error, "finished_at": now(connection)}


def _crashes(connection: Connection, run: Run) -> tuple[int, int]:
    """The count with this loss, and the step it happened at."""
    before = connection.execute(select(runs.c.crash_step).where(runs.c.id == run.id)).scalar()
    step = run.resume.step if run.resume else -1
    has_risen = before is None or step > before
    return (1 if has_risen else run.crashes + 1), step


def _poison(crashes: int, detail: str) -> dict[str, str]:
    message = f"Its trainer was lost {crashes} times without progress; the last time: {detail}"
    return {"cause": "infra", "reason": "POISON_RUN", "message": message}
