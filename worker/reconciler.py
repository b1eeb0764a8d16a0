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

from core import claims, idempotency, logs, workers
from core.errors import EvalmodeError, Fenced
from core.queue import QueueName
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
        for run, detail in self._lost():
            self._take_back(run, detail)
        self._hint()
        if time.monotonic() - self._swept_at > SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            sweep(self._services)
            self._services.database.write(_forget, durable=False)

    def _lost(self) -> Iterator[tuple[Run, str]]:
        """Runs whose lease is over, and at once those whose owner died on this host."""
        grace = self._services.settings.grace_seconds
        host = self._services.host
        expired, here = self._services.database.read(
            lambda c: (claims.expired(c, grace), claims.owned_by_host(c, host))
        )
        known = {run.id for run in expired}
        yield from ((run, "its lease ran out") for run in expired)
        yield from (
            (run, "its worker died") for run in here if run.id not in known and self._is_orphan(run)
        )

    def _is_orphan(self, run: Run) -> bool:
        worker_id = run.worker_id
        return (
            worker_id is not None
            and worker_id != self._services.worker_id
            and not is_alive(worker_id)
        )

    def _take_back(self, run: Run, detail: str) -> None:
        """Abort first: on this host the old trainer is dead before the run can be claimed."""
        is_here = run.host == self._services.host and run.pid is not None
        if is_here and not kill(run.pid, run.pid_start):
            log.error("a lost trainer cannot be killed", run=run.id, pid=run.pid)
            return
        most = self._services.settings.max_crashes

        def work(c: Connection) -> Run:
            return claims.lost(c, run.id, run.epoch, detail, most)

        with suppress(Fenced):  # another reconciler was faster, or the owner lives after all
            taken = self._services.database.write(work)
            if taken.ended:
                delete_unnamed(self._services, taken.id)
            log.warning("took a run back", run=run.id, epoch=run.epoch, detail=detail)

    def _hint(self) -> None:
        for queue, waiting in self._waiting().items():
            depth = self._services.hints.depth(queue) if waiting else None
            if depth is not None:
                for _ in range(min(waiting, MOST_HINTS) - depth):
                    self._services.hints.send(queue)

    def _waiting(self) -> dict[QueueName, int]:
        """Queued runs by the queue that should hear of them."""
        within = self._services.settings.alive_seconds
        return self._services.database.read(
            lambda c: claims.waiting(c, workers.gpu_alive(c, within))
        )


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
