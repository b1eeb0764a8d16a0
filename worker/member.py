"""A worker's place in the table of live workers: it joins when ready, beats, and leaves."""

import threading

from core import logs, workers
from core.errors import EvalmodeError
from core.workers import Worker
from worker.reconciler import Reconciler
from worker.services import Services

log = logs.get(__name__)


class Member:
    """Beats until it leaves, and keeps the reconciler beside it.

    Args:
        services: this worker.
        worker: its row.
    """

    def __init__(self, services: Services, worker: Worker) -> None:
        self._services, self._worker = services, worker
        self._reconciler = Reconciler(services)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="member", daemon=True)

    def join(self) -> None:
        """Say that this worker takes runs, and look for one: what waits need not wait longer."""
        self._thread.start()
        self._reconciler.start()
        self._services.hints.send(self._services.settings.worker_queue)

    def leave(self) -> None:
        """Take no more runs and make every trainer save; safe to call twice."""
        self._services.draining.set()
        self._left.set()

    def end(self) -> None:
        """After the last run: leave the table."""
        self.leave()
        self._reconciler.stop()
        if self._thread.is_alive():
            self._thread.join()
        try:
            self._services.database.write(lambda c: workers.remove(c, self._worker.id))
        except EvalmodeError as error:
            log.warning("the table still names this worker", error=str(error))

    def _beat(self) -> None:
        while not self._left.is_set():
            try:
                self._services.database.write(
                    lambda c: workers.beat(c, self._worker), durable=False
                )
            except EvalmodeError as error:
                log.warning("a beat failed", error=str(error))
            self._left.wait(self._services.settings.heartbeat_seconds)
