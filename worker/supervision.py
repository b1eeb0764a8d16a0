"""One process that works on one claim: start it, keep the lease, pass wishes on, reap it.

Every write is a compare-and-set on the claim's epoch. The first one that fails means that
another owner may have begun: the process is killed and nothing more is written. What is
claimed, and what is written of it, is its subclasses' concern.
"""

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection
from typing import Any

from sqlalchemy import Connection

from core import logs
from core.errors import DatabaseUnavailable, Fenced
from worker.channel import Message
from worker.lease import Wish
from worker.services import Services, started_at
from worker.spare import Spare

POLL_SECONDS = 0.1
RETRY_SECONDS = 1.0
START_AGAIN_SECONDS = 5.0

Write = Callable[..., Any]  # of a connection, an id, an epoch and more
Handler = Callable[[Message], None]

log = logs.get(__name__)


class Supervision(ABC):
    """Owns one claim until its process has ended.

    Args:
        services: this worker.
        claimed_id, epoch: of what is claimed; the epoch is the token of every write.
        visible_device: the CUDA device of this slot; None works on the CPU.
        spare: where its process comes from.
    """

    attach: Write  # names the process in the records
    renew: Write  # holds the claim for a lease from now

    def __init__(
        self,
        services: Services,
        claimed_id: str,
        epoch: int,
        visible_device: str | None,
        spare: Spare,
    ) -> None:
        self._services, self._id, self._epoch = services, claimed_id, epoch
        self._visible_device, self._spare = visible_device, spare
        self._wish: Wish | None = None
        self._kill_at = float("inf")
        self._has_let_go = False  # the last word of this claim is in the records

    def supervise(self) -> None:
        """Do the work; returns once its process has ended and the records say so."""
        try:
            self._work_or_let_go()
        except Fenced:
            log.warning("another owner may have begun")
        finally:
            self._spare.prepare()

    @abstractmethod
    def _work_or_let_go(self) -> None:
        """Prepare what the process is told, and `_work`."""

    @abstractmethod
    def _handlers(self) -> dict[str, Handler]:
        """What the process may say, beside that it is alive."""

    @abstractmethod
    def _wanted(self) -> Wish | None:
        """What the users or this worker wish of the process now."""

    @abstractmethod
    def _let_go_of_a_dead_process(self, detail: str) -> None:
        """Write that the process ended without a last word."""

    def _work(self, kind: str, assignment: dict[str, Any]) -> None:
        """Start the process on an assignment and stay until it has ended."""
        child = self._spare.take()
        self._process, self._channel = child.process, child.channel
        try:
            self._channel.send(kind, assignment=assignment)
            self._attach()
            self._watch()
            self._process.join(self._services.settings.shutdown_seconds)
            if not self._has_let_go:
                self._kill()
                detail = f"the trainer ended with status {self._process.exitcode}"
                log.warning(detail)
                self._let_go_of_a_dead_process(detail)
        finally:
            self._kill()
            self._channel.close()

    def _attach(self) -> None:
        pid = self._process.pid
        assert pid is not None
        lease = self._services.settings.lease_seconds
        self._own(type(self).attach, pid, started_at(pid), lease, durable=False)

    def _watch(self) -> None:
        """Handle messages until the process has ended and its pipe is empty."""
        polled_at = 0.0
        handlers = self._handlers() | {"alive": self._on_alive}
        sources: list[Any] = [self._channel.connection, self._process.sentinel]
        while True:
            ready = connection.wait(sources, POLL_SECONDS)
            if self._channel.connection in ready:
                try:
                    message = self._channel.receive()
                except (EOFError, OSError):
                    return
                handlers[message["kind"]](message)
            elif ready:
                return
            if time.monotonic() - polled_at >= POLL_SECONDS:
                polled_at = time.monotonic()
                self._pass_wish_on()

    def _on_alive(self, message: Message) -> None:
        try:
            lease = self._services.settings.lease_seconds
            self._own_once(type(self).renew, lease, durable=False)
        except DatabaseUnavailable:
            return  # not renewed: the process fences itself when this goes on
        self._tell("renewed", at=message["at"])

    def _pass_wish_on(self) -> None:
        wish = self._wanted()
        if wish is not None and wish != self._wish:
            self._wish = wish
            self._kill_at = time.monotonic() + self._services.settings.shutdown_seconds
            self._tell(wish)
        if time.monotonic() > self._kill_at:
            self._kill()

    def _own(self, write: Write, *values: Any, durable: bool = True) -> Any:
        """Write as the owner; waits for a database that is away, and is fenced if too late.

        Raises:
            DatabaseUnavailable: it stayed away while this worker is ending: the lease runs out.
        """
        patience = time.monotonic() + self._services.settings.shutdown_seconds
        while True:
            try:
                return self._own_once(write, *values, durable=durable)
            except DatabaseUnavailable:
                if self._services.draining.is_set() and time.monotonic() > patience:
                    raise
                log.warning("the database does not answer")
                time.sleep(RETRY_SECONDS)

    def _own_once(self, write: Write, *values: Any, durable: bool) -> Any:
        def work(c: Connection) -> Any:
            return write(c, self._id, self._epoch, *values)

        return self._services.database.write(work, durable=durable)

    def _tell(self, kind: str, **values: Any) -> None:
        with suppress(OSError):  # it has ended; the watch will see
            self._channel.send(kind, **values)

    def _kill(self) -> None:
        """End the process and whatever it started, and wait for it; twice is once."""
        pid = self._process.pid
        assert pid is not None
        if self._process.is_alive():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            self._process.kill()
        self._process.join()
