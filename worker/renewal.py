"""Holds a claim while its work is being prepared and no process gives signs of life yet."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from core import logs
from core.errors import EvalmodeError
from worker.services import Services

log = logs.get(__name__)


@contextmanager
def renewed(
    services: Services, renew: Callable[..., Any], claimed_id: str, epoch: int
) -> Iterator[None]:
    """Renew the lease every heartbeat: a slow store must not cost a claim its owner.

    Args:
        renew: of `core.claims` or `core.operation_claims`.
    """
    done = threading.Event()
    told = (services, renew, claimed_id, epoch, done)
    thread = threading.Thread(target=_renew, args=told, name="renewal")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _renew(
    services: Services,
    renew: Callable[..., Any],
    claimed_id: str,
    epoch: int,
    done: threading.Event,
) -> None:
    lease = services.settings.lease_seconds
    while not done.wait(services.settings.heartbeat_seconds):
        try:
            services.database.write(lambda c: renew(c, claimed_id, epoch, lease), durable=False)
        except EvalmodeError as error:
            log.warning("a claim was not renewed", id=claimed_id, error=str(error))
