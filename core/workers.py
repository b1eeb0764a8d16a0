"""The table of live workers: who trains, on what, and when it last said so."""

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, insert, select, update

from core.clock import lease_now, now
from core.tables import workers


@dataclass(frozen=True)
class Worker:
    """One worker process, which takes runs from one queue."""

    id: str
    host: str
    pid: int
    queue: Literal["cpu", "gpu"]
    slots: int  # cores on a cpu worker, devices on a gpu worker
    devices: tuple[str, ...] = ()  # names of its GPUs


def beat(connection: Connection, worker: Worker) -> None:
    """Say that a worker is alive; the first time makes it known."""
    row = vars(worker) | {"devices": list(worker.devices), "beat_at": lease_now(connection)}
    known = update(workers).where(workers.c.id == worker.id).values(**row)
    if connection.execute(known).rowcount == 0:
        connection.execute(insert(workers).values(**row, started_at=now(connection)))


def alive(connection: Connection, within_seconds: float) -> list[Worker]:
    """The workers that said so within the last `within_seconds`, by id."""
    since = lease_now(connection) - within_seconds
    rows = connection.execute(
        select(workers).where(workers.c.beat_at >= since).order_by(workers.c.id)
    )
    return [_from_row(row) for row in rows]


def gpu_alive(connection: Connection, within_seconds: float) -> bool:
    """Whether a GPU worker said so within the last `within_seconds`."""
    since = lease_now(connection) - within_seconds
    found = select(workers.c.id).where(workers.c.queue == "gpu", workers.c.beat_at >= since)
    return connection.execute(found.limit(1)).scalar() is not None


def remove(connection: Connection, worker_id: str) -> None:
    """Forget a worker that has ended."""
    connection.execute(delete(workers).where(workers.c.id == worker_id))


def purge(connection: Connection, older_than_seconds: float) -> int:
    """Forget the workers that have been silent for longer, and return how many they were."""
    before = lease_now(connection) - older_than_seconds
    return connection.execute(delete(workers).where(workers.c.beat_at < before)).rowcount


def _from_row(row: Row[Any]) -> Worker:
    return Worker(row.id, row.host, row.pid, row.queue, row.slots, tuple(row.devices))
