"""Drift of models over all API processes: each says what it sees, and whoever is asked tells all.

A prediction goes to one process and is watched there. Every few seconds a process writes the
states that have changed into a table, from which the others read them.
"""

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from api.serving.windows import Windows
from core import drift, logs
from core.database import Database
from core.drift import Key, Said
from core.errors import DatabaseUnavailable

SECONDS = 5.0  # between two words of a process
BEAT_SECONDS = 60.0  # between two words on what has not changed; deletions are heard of then
END_SECONDS = 2.0  # for the last word
_log = logs.get(__name__)


def process_name() -> str:
    """What tells this process from every other one, for people as well."""
    return f"{socket.gethostname()[:80]}-{os.getpid()}-{secrets.token_hex(4)}"


class Drift:
    """The windows of this process, shared with the others.

    Args:
        windows: of this process.
    """

    def __init__(self, database: Database, windows: Windows) -> None:
        self.process = process_name()
        self._database = database
        self._windows = windows
        self._written: dict[Key, tuple[int, float]] = {}  # predictions then, and when that was
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tell the others."""
        self._task = asyncio.create_task(self._tell_others())

    async def close(self) -> None:
        """Take back what was said: the windows end with the process."""
        self._ending.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=END_SECONDS)
            self._task.cancel()
        if self._written:
            with contextlib.suppress(DatabaseUnavailable, TimeoutError):
                work = self._database.awrite(partial(drift.remove, process=self.process))
                await asyncio.wait_for(work, END_SECONDS)

    async def states(self, key: Key, said: Iterable[Said]) -> dict[str, dict[str, Any]]:
        """The state of every window of a version, by process; this one's as it is now.

        Args:
            said: what the table has of the version.
        """
        found = {one.process: one.state for one in said if one.process != self.process}
        window = self._windows.get(key)
        if window is not None:
            found[self.process] = await asyncio.to_thread(window.state)
        return found

    async def publish(self) -> None:
        """Write what has changed since the last time.

        Raises:
            DatabaseUnavailable: nothing was written.
        """
        due, now = self._due(), time.monotonic()
        if not due:
            return
        states = await asyncio.to_thread(self._states, due)
        put = partial(drift.put, process=self.process, states=states)
        for model, version in await self._database.awrite(put, durable=False):
            self._windows.forget(model, [version])
        self._written.update({key: (count, now) for key, count in due.items()})

    def _due(self) -> dict[Key, int]:
        """How many predictions there were, by version, where the others have not heard of them."""
        counts = {key: window.predictions for key, window in self._windows.all().items()}
        self._written = {key: last for key, last in self._written.items() if key in counts}
        since = time.monotonic() - BEAT_SECONDS
        known = {key: count for key, (count, at) in self._written.items() if at > since}
        return {key: count for key, count in counts.items() if known.get(key) != count}

    def _states(self, keys: Iterable[Key]) -> dict[Key, dict[str, Any]]:
        windows = self._windows.all()
        return {key: windows[key].state() for key in keys if key in windows}

    async def _tell_others(self) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), SECONDS)
                return
            try:
                await self.publish()
            except DatabaseUnavailable as error:
                _log.warning("other processes hear nothing of drift", error=error.message)
            except Exception:
                _log.exception("other processes hear nothing of drift")
