"""The trainer's lifeline: signs of life out, renewals and wishes in, and self-fencing.

The supervisor renews the lease in the records each time a sign of life arrives, and says
so. A trainer that has not heard of a renewal for two thirds of the lease ends itself, so
it never works on after another owner may have begun.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from multiprocessing import connection
from typing import Literal, NoReturn

from worker.assignment import Timing
from worker.channel import Channel

FENCED = 75  # exit status of a trainer that ended itself

Wish = Literal["pause", "stop", "shutdown"]


class Lifeline(threading.Thread):
    """Runs beside the training loop and ends the process when it must not go on.

    Attributes:
        wish: what the supervisor asks for, once it does.
    """

    def __init__(
        self, channel: Channel, timing: Timing, end: Callable[[int], NoReturn] = os._exit
    ) -> None:
        super().__init__(name="lifeline", daemon=True)
        self.wish: Wish | None = None
        self._channel, self._timing, self._end = channel, timing, end
        self._renewed_at = self._moved_at = time.monotonic()

    def moved(self) -> None:
        """The training loop took a step."""
        self._moved_at = time.monotonic()

    def check(self) -> None:
        """End the process if the last renewal is too old; every control point asks."""
        if time.monotonic() - self._renewed_at > self._timing.self_fence:
            self._end(FENCED)

    def run(self) -> None:
        """Listen and give signs of life until the process ends."""
        sentinels: list[object] = [self._channel.connection]
        parent = multiprocessing.parent_process()
        if parent is not None:
            sentinels.append(parent.sentinel)
        beat_at = 0.0
        while True:
            now = time.monotonic()
            if now >= beat_at:
                self._beat(now)
                beat_at = now + self._timing.heartbeat
            fence_at = self._renewed_at + self._timing.self_fence
            wait = max(0.0, min(beat_at, fence_at) - time.monotonic())
            ready = connection.wait(sentinels, wait)  # type: ignore[arg-type]
            if self._channel.connection in ready:
                self._hear()
            elif ready:
                self._end(FENCED)
            self.check()

    def _beat(self, now: float) -> None:
        # A loop that stands still gives no sign: its lease runs out and another begins.
        if now - self._moved_at < self._timing.stall:
            self._tell(now)

    def _tell(self, now: float) -> None:
        try:
            self._channel.send("alive", at=now)
        except OSError:
            self._end(FENCED)

    def _hear(self) -> None:
        try:
            message = self._channel.receive()
        except (EOFError, OSError):
            self._end(FENCED)
        if message["kind"] == "renewed":
            self._renewed_at = max(self._renewed_at, message["at"])
        else:
            self.wish = message["kind"]
