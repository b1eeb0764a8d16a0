"""A child that is forked and rehearsed before there is work for it.

A run's first step would otherwise wait for the fork and for everything that torch does only
once in a process. Like every child it does one thing and ends.
"""

import threading

from core import logs
from worker import forked
from worker.forkserver import Child, start

log = logs.get(__name__)


class Spare:
    """Keeps at most one waiting trainer; any number of slots may take from it.

    Args:
        rehearsing: whether trainers train something small on the CPU while they wait. One
            that will see a single GPU must not touch torch before it knows which.
    """

    def __init__(self, rehearsing: bool) -> None:
        self._target = forked.main_rehearsed if rehearsing else forked.main
        self._lock = threading.Lock()
        self._waiting: Child | None = None
        self._closed = False

    def prepare(self) -> None:
        """Start the waiting trainer, unless one waits already. Never raises: it is a help."""
        with self._lock:
            if self._closed or (self._waiting and self._waiting.process.is_alive()):
                return
            self._drop()
            try:
                self._waiting = start(self._target)
            except (OSError, EOFError) as error:
                log.warning("no trainer waits for the next run", error=str(error))

    def take(self) -> Child:
        """The waiting trainer, or a new one; it reads its assignment from its channel.

        Raises:
            OSError: the forkserver ended just now; the next call starts another.
            EOFError: as above.
        """
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is None:
            return start(self._target)
        if waiting.process.is_alive():
            return waiting
        waiting.close()
        return start(self._target)

    def close(self) -> None:
        """End the waiting trainer; none is prepared from here on."""
        with self._lock:
            self._closed = True
            self._drop()

    def _drop(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.close()
