"""One thread that answers predictions, so that the event loop stays free for everyone else.

Torch gets one thread as well: on a small machine more of them take from the trainers.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from api.problems import Refusal
from api.serving.answers import answer
from api.serving.inputs import Sent, decode
from api.serving.loaded import Networks, Stored
from api.telemetry import Telemetry
from model.checkpoint import Loaded

T = TypeVar("T")

MAX_HELD_BYTES = 512 * 2**20  # of all bodies that are read or wait


class Predictions:
    """Answers one request after another.

    Args:
        networks: touched by the thread alone.
        max_rows: of one request.
    """

    def __init__(self, networks: Networks, max_rows: int, telemetry: Telemetry) -> None:
        self._networks = networks
        self._max_rows = max_rows
        self._telemetry = telemetry
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predictions")
        self._held = 0

    @contextmanager
    def room(self, num_bytes: int) -> Iterator[None]:
        """Hold a place for a body before it is read, and until it is answered.

        Raises:
            Refusal: 503, too many bytes are held already.
        """
        if self._held and self._held + num_bytes > MAX_HELD_BYTES:
            detail = f"Predictions hold {self._held} bytes already."
            raise Refusal(503, "TOO_MANY_PREDICTIONS", detail, {"Retry-After": "1"})
        self._held += num_bytes
        try:
            yield
        finally:
            self._held -= num_bytes

    async def answer(self, sent: Sent, stored: Stored) -> bytes:
        """The JSON answer of a checkpoint to a request.

        Raises:
            InputRefused, Refusal, CheckpointRefused, FileMissing: see what it is made of.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._answer, sent, stored)

    def _answer(self, sent: Sent, stored: Stored) -> bytes:
        started = time.perf_counter()
        predictor = self._networks.get(stored)
        asked = decode(sent, predictor.loaded.facts, self._max_rows)
        body = answer(predictor, stored.id, asked)
        self._telemetry.prediction(len(asked.rows), time.perf_counter() - started)
        return body

    async def look(self, stored: Stored, work: Callable[[Loaded], T]) -> T:
        """What `work` finds in a checkpoint; it must not change the network, which answers.

        Raises:
            CheckpointRefused, FileMissing: see `Networks`; and whatever `work` raises.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, lambda: work(self._networks.get(stored).loaded)
        )

    def close(self) -> None:
        """Finish what waits and end the thread."""
        self._thread.shutdown(wait=True)
