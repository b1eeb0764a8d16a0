"""One thread that answers predictions, so that the event loop stays free for everyone else.

Torch gets one thread as well: on a small machine more of them take from the trainers.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from api.problems import Refusal
from api.serving.answers import answer
from api.serving.inputs import Sent, decode
from api.serving.loaded import Networks, Stored
from api.telemetry import Telemetry

MAX_WAITING = 64  # requests whose bodies are held at once


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
        self._waiting = 0

    def require_room(self) -> None:
        """Refuse before a body is read when too many are held already.

        Raises:
            Refusal: 503.
        """
        if self._waiting >= MAX_WAITING:
            detail = f"{MAX_WAITING} predictions wait already."
            raise Refusal(503, "TOO_MANY_PREDICTIONS", detail, {"Retry-After": "1"})

    async def answer(self, sent: Sent, stored: Stored) -> bytes:
        """The JSON answer of a checkpoint to a request.

        Raises:
            InputRefused, Refusal, CheckpointRefused, FileMissing: see what it is made of.
        """
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._thread, self._answer, sent, stored
            )
        finally:
            self._waiting -= 1

    def _answer(self, sent: Sent, stored: Stored) -> bytes:
        started = time.perf_counter()
        predictor = self._networks.get(stored)
        asked = decode(sent, predictor.loaded.facts, self._max_rows)
        body = answer(predictor, stored.id, asked)
        self._telemetry.prediction(len(asked.rows), time.perf_counter() - started)
        return body

    def close(self) -> None:
        """Finish what waits and end the thread."""
        self._thread.shutdown(wait=True)
