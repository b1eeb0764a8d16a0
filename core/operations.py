"""Operations, long work that a worker does, as their users see them.

What an owner does with one it holds is in `core.operation_claims`. An operation goes when the
checkpoint goes that it works on, or the experiment that it reports.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select

from core import idempotency, leases, uses
from core.clock import now
from core.errors import BadCursor, OperationNotFound
from core.idempotency import Idempotency
from core.ids import is_id, new_id
from core.leases import NEVER_STARTED
from core.states import ENDED, State
from core.tables import operations

MAX_PAGE = 100


@dataclass(frozen=True)
class NewOperation:
    """Checked work, ready to wait for a slot."""

    kind: str  # recalibrate, transplant, report
    params: dict[str, Any]  # with its defaults filled in
    checkpoint_id: str | None = None  # what it works on
    dataset_id: str | None = None  # whose rows it reads
    device: str = "auto"  # auto, cpu, cuda or any
    threads: int = 1
    experiment_id: str | None = None  # whose report it makes


@dataclass(frozen=True)
class Operation:
    """Everything that is known of an operation. Times are seconds since 1970."""

    id: str
    kind: str
    checkpoint_id: str | None
    dataset_id: str | None
    experiment_id: str | None  # whose report it makes
    params: dict[str, Any]
    device: str  # auto, cpu or cuda, as asked; any of a report
    threads: int
    state: State  # queued, running, succeeded or failed
    progress: float  # 0 to 1
    progress_at: float | None
    result: dict[str, Any] | None  # once succeeded
    error: dict[str, Any] | None  # {cause, reason, message}, once failed
    epoch: int  # the fencing token: one more with every claim
    attempts: int  # claims so far
    crashes: int  # owners lost
    worker_id: str | None  # the owner; null while nobody owns it
    host: str | None
    pid: int | None  # of the process that does the work
    pid_start: int | None  # kernel ticks after boot
    worker_device: str | None  # what the present or last owner works on
    lease_until: float | None  # on the lease clock, not on the wall's
    created_at: float
    started_at: float | None
    finished_at: float | None

    @property
    def ended(self) -> bool:
        """Whether its state can never change again."""
        return self.state in ENDED


@dataclass(frozen=True)
class Submitted:
    """An accepted operation, or the one that an earlier request with the same key made."""

    operation: Operation
    replayed: bool


@dataclass(frozen=True)
class Page:
    """Newest first."""

    data: list[Operation]
    has_more: bool


_INSERT = insert(operations)
_GET = select(operations).where(operations.c.id == bindparam("operation"))


def submit(
    connection: Connection, new: NewOperation, queue_limit: int, asked: Idempotency | None = None
) -> Submitted:
    """Accept an operation: once this transaction is committed, it is not lost.

    Its checkpoint, the donor of statistics and its dataset cannot be deleted before it has ended.

    Args:
        queue_limit: operations that may wait at once.
        asked: the client's idempotency key.

    Raises:
        IdempotencyMismatch, IdempotencyInFlight: see `core.idempotency`.
        CheckpointNotFound, DatasetNotFound: what it needs has been deleted meanwhile.
        QueueFull: that many operations wait.
    """
    operation_id = new_id("op")
    earlier = idempotency.reserve(connection, asked, operation_id) if asked else None
    if earlier is not None:
        return Submitted(get(connection, earlier), replayed=True)
    needed = (new.checkpoint_id, new.params.get(uses.DONOR))
    for checkpoint_id in sorted(one for one in needed if one is not None):
        uses.hold_checkpoint(connection, checkpoint_id)
    if new.dataset_id is not None:
        uses.hold_dataset(connection, new.dataset_id)
    leases.refuse_beyond(connection, operations, queue_limit)
    insert_one(connection, operation_id, new)
    return Submitted(get(connection, operation_id), replayed=False)


def insert_one(connection: Connection, operation_id: str, new: NewOperation) -> None:
    """Queue an operation under an id of its own; whoever calls holds what it works on."""
    connection.execute(_INSERT, _row(connection, operation_id, new))


def of_experiments(connection: Connection, experiment_ids: Collection[str]) -> dict[str, str]:
    """The operations that make the reports of some experiments, ids by ids; none before."""
    columns = (operations.c.experiment_id, operations.c.id)
    wanted = operations.c.experiment_id.in_(list(experiment_ids))
    return {row.experiment_id: row.id for row in connection.execute(select(*columns).where(wanted))}


def get(connection: Connection, operation_id: str) -> Operation:
    """The operation with this id.

    Raises:
        OperationNotFound: there is none, or it went with its checkpoint.
    """
    if not is_id("op", operation_id):
        raise OperationNotFound()
    row = connection.execute(_GET, {"operation": operation_id}).one_or_none()
    if row is None:
        raise OperationNotFound()
    return from_row(row)


def page(
    connection: Connection,
    checkpoint_id: str | None = None,
    limit: int = 20,
    after: str | None = None,
) -> Page:
    """One page of the operations on a checkpoint, or of all, newest first.

    Args:
        limit: 1 to 100.
        after: id of the last one of the page before.

    Raises:
        BadCursor: `after` is no operation of this list.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"expected a limit of 1 to {MAX_PAGE}, got {limit}")
    query = select(operations).order_by(operations.c.id.desc()).limit(limit + 1)
    if checkpoint_id is not None:
        query = query.where(operations.c.checkpoint_id == checkpoint_id)
    if after is not None:
        query = query.where(operations.c.id < _cursor(connection, checkpoint_id, after))
    rows = connection.execute(query).all()
    return Page([from_row(row) for row in rows[:limit]], len(rows) > limit)


def rows_keys(connection: Connection) -> frozenset[str]:
    """Keys of the rows that operations which have not ended brought with them."""
    going_on = operations.c.state.not_in([state.value for state in ENDED])
    found = connection.execute(select(operations.c.params).where(going_on))
    return frozenset(p["rows_key"] for (p,) in found if p.get("rows_key") is not None)


def _row(connection: Connection, operation_id: str, new: NewOperation) -> dict[str, Any]:
    start = {"state": State.QUEUED.value, "turn": NEVER_STARTED, "not_before": 0.0}
    counted = {"progress": 0.0, "epoch": 0, "attempts": 0, "crashes": 0}
    made = {"id": operation_id, "created_at": now(connection)}
    return vars(new) | start | counted | made


def _cursor(connection: Connection, checkpoint_id: str | None, after: str) -> str:
    try:
        found = get(connection, after)
    except OperationNotFound as error:
        raise BadCursor() from error
    if checkpoint_id is not None and found.checkpoint_id != checkpoint_id:
        raise BadCursor()
    return found.id


def from_row(row: Row[Any]) -> Operation:
    """The operation of one whole row of `operations`."""
    columns = dict(row._mapping)
    columns["state"] = State(columns["state"])
    return Operation(**{name: columns[name] for name in Operation.__dataclass_fields__})
