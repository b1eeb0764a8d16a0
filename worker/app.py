"""Everything a worker process needs, wired in one place."""

import os
from dataclasses import dataclass

from celery import Celery

from core import claims, datasets, logs, operation_claims
from core.claims import Owner
from core.database import Database
from core.files import open_store
from core.ids import new_id
from core.queue import Hints, build
from core.settings import Settings
from core.workers import Worker
from worker import forkserver
from worker.devices import Cores, Devices, Gpus, find_gpus
from worker.member import Member
from worker.services import Services
from worker.slots import Slots
from worker.spare import Spare
from worker.tasks import register

MARGIN_SECONDS = 5.0  # for the records to be written after a trainer has saved

log = logs.get(__name__)


@dataclass(frozen=True)
class Process:
    """A wired worker."""

    app: Celery
    services: Services
    member: Member
    slots: Slots
    spare: Spare
    num_slots: int

    def close(self) -> None:
        """Leave, let trainers save, and let go of everything.

        Celery waits for the pool at some signals and not at others; this does at all.
        """
        self.member.leave()
        if not self.slots.wait_idle(self.services.settings.shutdown_seconds + MARGIN_SECONDS):
            log.error("trainers are left to their leases")
        self.spare.close()
        self.member.end()
        self.services.hints.close()
        self.services.database.close()
        self.services.files.close()


def create(settings: Settings, visible_devices: str | None) -> Process:
    """Open everything, warm it, and return a worker that is ready to listen.

    Args:
        visible_devices: the value of CUDA_VISIBLE_DEVICES.

    Raises:
        RuntimeError: a GPU worker without a GPU, or a trainer that cannot be imported.
    """
    forkserver.launch()
    services = Services(
        settings, Database(settings.database_url), open_store(settings), Hints(settings)
    )
    services.database.migrate()
    datasets.ensure_builtin(services.database, services.files)
    gpus = find_gpus(visible_devices) if settings.worker_queue == "gpu" else []
    if settings.worker_queue == "gpu" and not gpus:
        raise RuntimeError("a gpu worker was asked for, and this machine shows no CUDA device")
    devices: Devices = Gpus(gpus) if gpus else Cores(settings.slots)
    num_slots = len(gpus) or settings.slots
    worker = Worker(
        services.worker_id,
        services.host,
        os.getpid(),
        settings.worker_queue,
        num_slots,
        tuple(gpus),
    )
    app = build(settings)
    member = Member(services, worker)
    spare = Spare(rehearsing=not gpus)
    slots = Slots(services, devices, spare)
    register(app, member, slots)
    _warm(services)
    spare.prepare()
    return Process(app, services, member, slots, spare, num_slots)


def _warm(services: Services) -> None:
    """Make the first run as fast as the others: statements compiled, broker and trainer up."""
    forkserver.warm()
    services.hints.warm()
    nobody = Owner(services.worker_id, services.host, "cpu")
    services.database.write(lambda c: claims.claim(c, new_id("run"), nobody, 1.0), durable=False)
    services.database.read(lambda c: claims.next_queued(c, "cpu", False))
    services.database.read(lambda c: operation_claims.next_queued(c, "cpu", False))
