"""Rows that wait for an owner and rows that have one: what runs and operations share.

A claim counts a row's epoch up. Every later write of that owner is a compare-and-set on
(id, epoch) while the row is owned; where it fails the owner is fenced and must stop at once.
The tables given here have the columns of `core.tables.ownership`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, Table, bindparam, func, select, text, update
from sqlalchemy.sql.elements import ColumnElement

from core.clock import lease_now, now
from core.errors import Fenced, QueueFull
from core.states import OWNED, State

INTERRUPTED, NEVER_STARTED = 0, 1  # `turn`: what was interrupted goes first
NO_OWNER: dict[str, Any] = {"worker_id": None, "host": None, "pid": None, "pid_start": None}
NO_OWNER |= {"lease_until": None}
OWNED_VALUES = [state.value for state in OWNED]

ANY = "any"  # `device` of what computes on the CPU alone and may do so on every worker

_NEAR_LIMIT = 256  # more than the submissions that PostgreSQL runs at one instant
_LIMIT_LOCK = {"runs": 20261123, "operations": 20261124}


@dataclass(frozen=True)
class Owner:
    """Who claims a row, before the process that does the work has started."""

    worker_id: str
    host: str
    device: str  # cpu, or the name of the GPU
    pid: int | None = None  # of the process; `attach` names it once it has started
    pid_start: int | None = None  # kernel ticks after boot, so that no stranger is killed


def claimable(connection: Connection, table: Table) -> ColumnElement[bool]:
    """The condition under which a row may get an owner now."""
    return (table.c.state == State.QUEUED.value) & (table.c.not_before <= now(connection))


def suits(
    table: Table, device: Literal["cpu", "gpu"], gpu_alive: bool, threads: int
) -> ColumnElement[bool]:
    """The condition under which a slot may take a row.

    Args:
        device: what the slot has. `auto` goes to a GPU while a GPU worker is alive.
        threads: CPU threads the slot can reserve.
    """
    devices = ["cuda", "auto"] if device == "gpu" else ["cpu"] if gpu_alive else ["cpu", "auto"]
    return table.c.device.in_([*devices, ANY]) & (table.c.threads <= threads)


def waiting(
    connection: Connection, table: Table, condition: ColumnElement[bool], gpu_alive: bool
) -> dict[Literal["cpu", "gpu"], int]:
    """How many rows under `condition` each queue's workers could claim now."""
    query = select(table.c.device, func.count()).where(condition)
    found = {device: int(count) for device, count in connection.execute(query.group_by("device"))}
    either, cpu, gpu, both = (found.get(device, 0) for device in ("auto", "cpu", "cuda", ANY))
    cpu, gpu = (cpu, gpu + either) if gpu_alive else (cpu + either, gpu)
    return {"cpu": cpu + both, "gpu": gpu + both}


def refuse_beyond(connection: Connection, table: Table, limit: int, new: int = 1) -> None:
    """Count and check as one step, so that a burst cannot pass the limit together.

    Args:
        limit: rows that may wait at once.
        new: rows that are about to.

    Raises:
        QueueFull: then more would wait than may.
    """
    if not _waits(connection, table, limit - new + 1 - _NEAR_LIMIT):
        return
    if connection.dialect.name == "postgresql":  # SQLite's writers already take turns
        lock = {"lock": _LIMIT_LOCK[table.name]}
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), lock)
    if _waits(connection, table, limit - new + 1):
        raise QueueFull(limit, table.name, new)


def start(
    connection: Connection, table: Table, owner: Owner, lease_seconds: float
) -> dict[str, Any]:
    """What a claim sets in a row."""
    at = now(connection)
    holder: dict[str, Any] = {"worker_id": owner.worker_id, "host": owner.host, "pid": owner.pid}
    holder |= {"pid_start": owner.pid_start, "worker_device": owner.device}
    lease = lasting(connection, lease_seconds) | {"epoch": table.c.epoch + 1}
    state = {"state": State.RUNNING.value, "attempts": table.c.attempts + 1, "progress_at": at}
    return holder | lease | state | {"started_at": func.coalesce(table.c.started_at, at)}


def lasting(connection: Connection, lease_seconds: float) -> dict[str, Any]:
    """What a renewal sets: the lease ends that many seconds from now."""
    return {"lease_until": lease_now(connection) + lease_seconds}


def is_owned(table: Table, row_id: str, epoch: int) -> ColumnElement[bool]:
    """The condition that every write of an owner carries."""
    return (table.c.id == row_id) & (table.c.epoch == epoch) & table.c.state.in_(OWNED_VALUES)


def owned_update(
    connection: Connection,
    table: Table,
    row_id: str,
    epoch: int,
    values: dict[str, Any],
    returning: Sequence[ColumnElement[Any]],
    condition: ColumnElement[bool] | None = None,
) -> Row[Any]:
    """Set `values` on an owned row and return some of its columns.

    Args:
        condition: what else must hold.

    Raises:
        Fenced: the claim is over, or the condition does not hold.
    """
    statement = update(table).where(is_owned(table, row_id, epoch)).values(**values)
    if condition is not None:
        statement = statement.where(condition)
    row = connection.execute(statement.returning(*returning)).one_or_none()
    if row is None:
        raise Fenced(row_id, epoch, table.name.removesuffix("s"))
    return row


def expired(connection: Connection, table: Table, grace_seconds: float) -> Sequence[Row[Any]]:
    """The owned rows whose lease ended more than `grace_seconds` ago."""
    limit = lease_now(connection) - grace_seconds
    return connection.execute(_owned(table).where(table.c.lease_until < limit)).all()


def owned_by_host(connection: Connection, table: Table, host: str) -> Sequence[Row[Any]]:
    """The owned rows whose process is on this host, dead or alive."""
    return connection.execute(_owned(table).where(table.c.host == host)).all()


def _owned(table: Table) -> Select[Any]:
    return select(table).where(table.c.state.in_(OWNED_VALUES)).order_by(table.c.id)


def _waits(connection: Connection, table: Table, number: int) -> bool:
    """Whether at least that many rows are queued."""
    if number <= 0:
        return True
    return connection.execute(_nth_queued(table), {"before_it": number - 1}).scalar() is not None


@cache
def _nth_queued(table: Table) -> Select[Any]:
    queued = select(table.c.id).where(table.c.state == State.QUEUED.value)
    return queued.limit(1).offset(bindparam("before_it"))
