"""What a hint sets off: claim the best queued work that this worker can do, until none is left.

Runs are taken in their order, and so are operations; where both wait they take turns, so that
neither starves the other. What needs more cores than are free waits for them instead of being
overtaken, or a stream of small runs would starve it.
"""

import threading

from sqlalchemy import Connection

from core import claims, logs, operation_claims, workers
from core.claims import Owner
from core.errors import EvalmodeError
from core.experiment_moves import REPORT
from core.operations import Operation
from core.record import Run
from worker.devices import Devices, Share
from worker.operation_supervisor import KINDS, OperationSupervisor
from worker.report_supervisor import ReportSupervisor
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
        self._operated = False  # what was taken last was an operation

    def work(self) -> None:
        """Do queued work piece by piece; returns when nothing is left for a slot."""
        with self._changed:
            self._active += 1
        try:
            self._work_off()
        finally:
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Wait until no thread works; whether that came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._active == 0, seconds)

    def _work_off(self) -> None:
        while not self._services.draining.is_set():
            try:
                if not self._work_once():
                    return
            except EvalmodeError as error:
                # The reconciler hints again; the lease of what was claimed runs out.
                log.warning("a slot gave up", error=str(error))
                return

    def _work_once(self) -> bool:
        """Whether there was work; it has been done, or another worker was faster."""
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
                claimed = self._claim(found, share)
            except BaseException:
                share.give_back()
                raise
        try:
            if isinstance(claimed, Run):
                Supervisor(self._services, claimed, share.visible, self._spare).supervise()
            elif claimed is not None:
                self._operate(claimed, share)
        finally:
            share.give_back()
        return True

    def _operate(self, operation: Operation, share: Share) -> None:
        kind = ReportSupervisor if operation.kind == REPORT else OperationSupervisor
        kind(self._services, operation, share.visible, self._spare).supervise()

    def _next(self) -> Run | Operation | None:
        run, operation = self._services.database.read(self._waiting)
        if run is None or (operation is not None and not self._operated):
            return operation
        return run

    def _waiting(self, c: Connection) -> tuple[Run | None, Operation | None]:
        """The run and the operation that are next."""
        settings = self._services.settings
        queue, gpu_alive = settings.worker_queue, workers.gpu_alive(c, settings.alive_seconds)
        run = claims.next_queued(c, queue, gpu_alive)
        return run, operation_claims.next_queued(c, queue, gpu_alive, kinds=KINDS)

    def _claim(self, found: Run | Operation, share: Share) -> Run | Operation | None:
        owner = Owner(self._services.worker_id, self._services.host, share.device)
        lease = self._services.settings.lease_seconds
        self._operated = isinstance(found, Operation)
        claim = operation_claims.claim if self._operated else claims.claim

        def work(c: Connection) -> Run | Operation | None:
            return claim(c, found.id, owner, lease)

        return self._services.database.write(work, durable=False)
