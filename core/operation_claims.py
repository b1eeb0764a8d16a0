"""What an owner does with an operation: claim it, keep it, report, and let go of it.

It owns it as the owner of a run does, by lease and epoch (`core.leases`). What it makes, such as
a revision, it records in the transaction in which it finishes: then an owner that was given up
has made nothing, and an operation that is done again makes it once. An experiment whose report
fails, fails with it.
"""

from collections.abc import Collection
from typing import Any, Literal

from sqlalchemy import Connection, select, update

from core import experiment_moves, leases
from core.clock import now
from core.leases import INTERRUPTED, NO_OWNER, Owner
from core.operations import Operation, from_row
from core.states import State
from core.tables import operations

_FREED = NO_OWNER | {"state": State.QUEUED.value, "turn": INTERRUPTED, "progress": 0.0}


def next_queued(
    connection: Connection,
    device: Literal["cpu", "gpu"],
    gpu_alive: bool,
    threads: int = 64,
    kinds: Collection[str] | None = None,
) -> Operation | None:
    """The operation that a free slot should claim: interrupted ones first, then the oldest.

    Args:
        device: what the slot has. `auto` operations go to a GPU while a GPU worker is alive.
        threads: CPU threads the slot can reserve.
        kinds: what the worker can do, all when None; newer kinds wait for newer workers.
    """
    suits = leases.suits(operations, device, gpu_alive, threads)
    query = select(operations).where(leases.claimable(connection, operations), suits)
    if kinds is not None:
        query = query.where(operations.c.kind.in_(kinds))
    order = query.order_by(operations.c.turn, operations.c.id).limit(1)
    row = connection.execute(order).one_or_none()
    return None if row is None else from_row(row)


def waiting(connection: Connection, gpu_alive: bool) -> dict[Literal["cpu", "gpu"], int]:
    """How many queued operations each queue's workers could claim now."""
    claimable = leases.claimable(connection, operations)
    return leases.waiting(connection, operations, claimable, gpu_alive)


def claim(
    connection: Connection, operation_id: str, owner: Owner, lease_seconds: float
) -> Operation | None:
    """Become the owner of a queued operation, which starts anew.

    Returns:
        None where another was faster or it may not start yet.
    """
    values = leases.start(connection, operations, owner, lease_seconds) | {"progress": 0.0}
    waits = leases.claimable(connection, operations)
    statement = update(operations).where(operations.c.id == operation_id, waits).values(**values)
    row = connection.execute(statement.returning(*operations.c)).one_or_none()
    return None if row is None else from_row(row)


def attach(
    connection: Connection,
    operation_id: str,
    epoch: int,
    pid: int,
    pid_start: int,
    lease_seconds: float,
) -> None:
    """Name the process that works, so that it can be killed before anybody else claims.

    Renews the lease: the preparation may have taken some of it.

    Raises:
        Fenced: the claim is over.
    """
    process = {"pid": pid, "pid_start": pid_start}
    lease = leases.lasting(connection, lease_seconds)
    _keep(connection, operation_id, epoch, process | lease)


def renew(connection: Connection, operation_id: str, epoch: int, lease_seconds: float) -> None:
    """Hold the operation for `lease_seconds` from now.

    Raises:
        Fenced: the claim is over.
    """
    _keep(connection, operation_id, epoch, leases.lasting(connection, lease_seconds))


def report(connection: Connection, operation_id: str, epoch: int, progress: float) -> None:
    """Write how much is done.

    Args:
        progress: share of the work, 0 to 1.

    Raises:
        Fenced: the claim is over.
    """
    if not 0 <= progress <= 1:
        raise ValueError("progress is a share from 0 to 1")
    values = {"progress": progress, "progress_at": now(connection)}
    _keep(connection, operation_id, epoch, values)


def finish(
    connection: Connection, operation_id: str, epoch: int, result: dict[str, Any]
) -> Operation:
    """End an operation that was done.

    Args:
        result: JSON-ready.

    Raises:
        Fenced: the claim is over.
    """
    at = now(connection)
    values = {"state": State.SUCCEEDED.value, "progress": 1.0, "progress_at": at}
    values |= {"result": result, "finished_at": at}
    return _keep(connection, operation_id, epoch, NO_OWNER | values)


def fail(connection: Connection, operation_id: str, epoch: int, error: dict[str, str]) -> Operation:
    """End an operation that cannot be done.

    Args:
        error: cause (user, infra or code), reason (stable UPPER_SNAKE) and message.

    Raises:
        Fenced: the claim is over.
    """
    return _fail(connection, operation_id, epoch, error)


def release(
    connection: Connection, operation_id: str, epoch: int, delay_seconds: float = 0
) -> Operation:
    """Let go of an operation before its end, at a shutdown: it waits for the next owner.

    Args:
        delay_seconds: how long nobody may claim it, where what failed needs time.

    Raises:
        Fenced: the claim is over.
    """
    values = _FREED | {"not_before": now(connection) + delay_seconds}
    return _keep(connection, operation_id, epoch, values)


def lost(
    connection: Connection, operation_id: str, epoch: int, detail: str, max_crashes: int
) -> Operation:
    """Take an operation from an owner that died, and count it: it waits for the next one.

    One that has lost more than `max_crashes` owners fails, for it would kill them for ever.
    It has no resume point, so the count never starts again.

    Args:
        detail: how the owner died.

    Raises:
        Fenced: the claim is over already.
    """
    counted = {"crashes": operations.c.crashes + 1}
    taken = _keep(connection, operation_id, epoch, counted)
    if taken.crashes > max_crashes:
        return _fail(connection, operation_id, epoch, _poison(taken.crashes, detail))
    return _keep(connection, operation_id, epoch, _FREED)


def withdraw(connection: Connection, experiment_id: str) -> None:
    """End the operation that would make an experiment's report, whoever owns it.

    An owner is fenced at its next write.
    """
    message = "Its experiment was cancelled."
    error = {"cause": "user", "reason": "EXPERIMENT_CANCELLED", "message": message}
    ended = {"state": State.FAILED.value, "error": error, "finished_at": now(connection)}
    going_on = operations.c.state.in_([State.QUEUED.value, State.RUNNING.value])
    its = (operations.c.experiment_id == experiment_id) & going_on
    connection.execute(update(operations).where(its).values(**NO_OWNER | ended))


def expired(connection: Connection, grace_seconds: float) -> list[Operation]:
    """The owned operations whose lease ended more than `grace_seconds` ago."""
    return [from_row(row) for row in leases.expired(connection, operations, grace_seconds)]


def owned_by_host(connection: Connection, host: str) -> list[Operation]:
    """The owned operations whose process is on this host, dead or alive."""
    return [from_row(row) for row in leases.owned_by_host(connection, operations, host)]


def _keep(
    connection: Connection, operation_id: str, epoch: int, values: dict[str, Any]
) -> Operation:
    columns = list(operations.c)
    row = leases.owned_update(connection, operations, operation_id, epoch, values, columns)
    return from_row(row)


def _fail(
    connection: Connection, operation_id: str, epoch: int, error: dict[str, str]
) -> Operation:
    ended = {"state": State.FAILED.value, "error": error, "finished_at": now(connection)}
    failed = _keep(connection, operation_id, epoch, NO_OWNER | ended)
    if failed.experiment_id is not None:
        experiment_moves.fail(connection, failed.experiment_id, error)
    return failed


def _poison(crashes: int, detail: str) -> dict[str, str]:
    message = f"Its process was lost {crashes} times; the last time: {detail}"
    return {"cause": "infra", "reason": "POISON_OPERATION", "message": message}
