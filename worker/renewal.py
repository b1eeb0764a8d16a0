"""Holds a claim while its run is being prepared and no trainer gives signs of life yet."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from core import claims, logs
from core.errors import EvalmodeError
from core.record import Run
from worker.services import Services

log = logs.get(__name__)


@contextmanager
def renewed(services: Services, run: Run) -> Iterator[None]:
    """Renew the lease every heartbeat: a slow store must not cost the run its owner."""
    done = threading.Event()
    thread = threading.Thread(target=_renew, args=(services, run, done), name="renewal")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _renew(services: Services, run: Run, done: threading.Event) -> None:
    lease = services.settings.lease_seconds
    while not done.wait(services.settings.heartbeat_seconds):
        try:
            services.database.write(
                lambda c: claims.renew(c, run.id, run.epoch, lease), durable=False
            )
        except EvalmodeError as error:
            log.warning("a claim was not renewed", run=run.id, error=str(error))
