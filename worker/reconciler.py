"""Makes lost hints and lost owners harmless, every few seconds, from the records alone.

Any number of reconcilers may run at once: every move is a compare-and-set.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from sqlalchemy import Connection

from core import claims, idempotency, logs, operation_claims, workers
from core.errors import EvalmodeError, Fenced
from core.operations import Operation
from core.queue import QUEUES, QueueName
from core.record import Run
from worker.services import Services, started_at
from worker.tidy import delete_unnamed, sweep

SWEEP_SECONDS = 600.0
FORGET_SECONDS = 86_400.0  # a silent worker's row is kept for a day
KILL_SECONDS = 5.0  # a process in the kernel's hands may take longer
MOST_HINTS = 64  # a worker that finds work looks for more by itself

log = logs.get(__name__)


class Reconciler(threading.Thread):
    """A thread of a worker; `stop` ends it."""

    def __init__(self, services: Services) -> None:
        super().__init__(name="reconciler", daemon=True)
        self._services = services
        self._stopped = threading.Event()
        self._swept_at = time.monotonic()

    def run(self) -> None:
        """Tick until stopped; an outage of database or store ends only that tick."""
        while not self._stopped.is_set():
            try:
                self.tick()
            except EvalmodeError as error:
                log.warning("a tick failed", error=str(error))
            except Exception:
                log.exception("a tick failed")
            self._stopped.wait(self._services.settings.tick_seconds)

    def stop(self) -> None:
        """End after the tick in progress."""
        self._stopped.set()
        if self.is_alive():
            self.join()

    def tick(self) -> None:
        """One sweep over owners, queue and, now and then, files."""
        for claimed, detail in self._lost():
            self._take_back(claimed, detail)
        self._hint()
        if time.monotonic() - self._swept_at > SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            sweep(self._services)
            self._services.database.write(_forget, durable=False)

    def _lost(self) -> Iterator[tuple[Run | Operation, str]]:
        """What has a lease that is over, and at once what has an owner that died on this host."""
        expired, here = self._services.database.read(self._owned)
        known = {claimed.id for claimed in expired}
        yield from ((claimed, "its lease ran out") for claimed in expired)
        yield from (
            (claimed, "its worker died")
            for claimed in here
            if claimed.id not in known and self._is_orphan(claimed)
        )

    def _owned(self, c: Connection) -> tuple[list[Run | Operation], list[Run | Operation]]:
        """What has a lease that is over, and what is owned on this host."""
        grace, host = self._services.settings.grace_seconds, self._services.host
        expired: list[Run | Operation] = [*claims.expired(c, grace)]
        here: list[Run | Operation] = [*claims.owned_by_host(c, host)]
        expired += operation_claims.expired(c, grace)
        here += operation_claims.owned_by_host(c, host)
        return expired, here

    def _is_orphan(self, claimed: Run | Operation) -> bool:
        worker_id = claimed.worker_id
        return (
            worker_id is not None
            and worker_id != self._services.worker_id
            and not is_alive(worker_id)
        )

    def _take_back(self, claimed: Run | Operation, detail: str) -> None:
        """Abort first: on this host the old process is dead before anybody can claim again."""
        is_here = claimed.host == self._services.host and claimed.pid is not None
        if is_here and not kill(claimed.pid, claimed.pid_start):
            log.error("a lost process cannot be killed", id=claimed.id, pid=claimed.pid)
            return
        most = self._services.settings.max_crashes
        lost = claims.lost if isinstance(claimed, Run) else operation_claims.lost

        def work(c: Connection) -> Run | Operation:
            return lost(c, claimed.id, claimed.epoch, detail, most)

        with suppress(Fenced):  # another reconciler was faster, or the owner lives after all
            taken = self._services.database.write(work)
            if taken.ended and isinstance(taken, Run):
                delete_unnamed(self._services, taken.id)
            log.warning("took back", id=claimed.id, epoch=claimed.epoch, detail=detail)

    def _hint(self) -> None:
        for queue, waiting in self._waiting().items():
            depth = self._services.hints.depth(queue) if waiting else None
            if depth is not None:
                for _ in range(min(waiting, MOST_HINTS) - depth):
                    self._services.hints.send(queue)

    def _waiting(self) -> dict[QueueName, int]:
        """Queued work by the queue that should hear of it."""
        return self._services.database.read(self._counted)

    def _counted(self, c: Connection) -> dict[QueueName, int]:
        gpu_alive = workers.gpu_alive(c, self._services.settings.alive_seconds)
        counts = claims.waiting(c, gpu_alive), operation_claims.waiting(c, gpu_alive)
        return {queue: sum(count[queue] for count in counts) for queue in QUEUES}


def _forget(c: Connection) -> None:
    workers.purge(c, FORGET_SECONDS)
    idempotency.purge(c)


def kill(pid: int | None, pid_start: int | None) -> bool:
    """SIGKILL a trainer and its session, if that pid is still that process.

    Returns:
        Whether it is gone.
    """
    deadline = time.monotonic() + KILL_SECONDS
    while pid is not None and pid_start is not None and started_at(pid) == pid_start:
        for send in (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                send(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def is_alive(worker_id: str) -> bool:
    """Whether the worker of this id, on this host, still runs.

    The id names its process: see `worker.services.worker_id`.
    """
    pid, start = worker_id.split("-")[1:3]
    return started_at(int(pid)) == int(start)
