"""What a hint sets off: claim the best queued run that this worker can train, until none is left.

Runs are taken in their order. One that needs more cores than are free waits for them
instead of being overtaken, or a stream of small runs would starve it.
"""

import threading

from core import claims, logs, workers
from core.claims import Owner
from core.errors import EvalmodeError
from core.record import Run
from worker.devices import Devices, Share
from worker.services import Services
from worker.spare import Spare
from worker.supervisor import Supervisor

log = logs.get(__name__)


class Slots:
    """The slots of one worker; any number of threads may call `train`."""

    def __init__(self, services: Services, devices: Devices, spare: Spare) -> None:
        self._services, self._devices, self._spare = services, devices, spare
        self._turn, self._next_in_line = threading.Lock(), threading.Lock()
        self._active = 0
        self._changed = threading.Condition()

    def train(self) -> None:
        """Train queued runs one after another; returns when nothing is left for a slot."""
        with self._changed:
            self._active += 1
        try:
            self._train_all()
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Wait until no thread trains; whether that came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._active == 0, seconds)

    def _train_all(self) -> None:
        while not self._services.draining.is_set():
            try:
                if not self._train_one():
                    return
            except EvalmodeError as error:
                # The reconciler hints again; a claimed run's lease runs out.
                log.warning("a slot gave up", error=str(error))
                return

    def _train_one(self) -> bool:
        """Whether there was a run; it has been trained, or another worker was faster."""
        if not self._next_in_line.acquire(blocking=False):
            return False  # another thread has yet to look, and will see what this one would
        with self._turn:
            self._next_in_line.release()
            found = self._next()
            if found is None:
                return False
            share = self._devices.take(found.threads, self._services.draining)
            if share is None:
                return False
            try:
                run = self._claim(found.id, share)
            except BaseException:
                share.give_back()
                raise
        try:
            if run is not None:
                Supervisor(self._services, run, share.visible, self._spare).supervise()
        finally:
            share.give_back()
        return True

    def _next(self) -> Run | None:
        settings = self._services.settings
        return self._services.database.read(
            lambda c: claims.next_queued(
                c, settings.worker_queue, workers.gpu_alive(c, settings.alive_seconds)
            )
        )

    def _claim(self, run_id: str, share: Share) -> Run | None:
        owner = Owner(self._services.worker_id, self._services.host, share.device)
        lease = self._services.settings.lease_seconds
        return self._services.database.write(
            lambda c: claims.claim(c, run_id, owner, lease), durable=False
        )
