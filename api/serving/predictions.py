"""One thread that answers predictions, so that the event loop stays free for everyone else.

Torch gets one thread as well: on a small machine more of them take from the trainers.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from api.problems import Invalid, Refusal
from api.serving.answers import answer
from api.serving.inputs import Sent, decode, parse
from api.serving.loaded import Form, Networks, Ready, Stored
from api.serving.windows import Answering, Windows
from api.telemetry import Telemetry
from api.validation import FieldError
from core.models import Version
from model.checkpoint import Loaded

T = TypeVar("T")

MAX_HELD_BYTES = 512 * 2**20  # of all bodies that are read or wait

#: The revision of a checkpoint with some name.
Revised = Callable[[str, str], Stored]


@dataclass(frozen=True)
class Subject:
    """What a prediction is asked of."""

    stored: Stored  # whose network answers
    version: Version | None = None  # where a model was asked
    revision: str | None = None  # that the query named, and `stored` is


class Predictions:
    """Answers one request after another.

    Args:
        networks: touched by the thread alone.
        windows: of drift.
        revised: finds the revision that a body names.
        max_rows: of one request.
    """

    def __init__(
        self,
        networks: Networks,
        windows: Windows,
        revised: Revised,
        telemetry: Telemetry,
        max_rows: int,
    ) -> None:
        self._networks = networks
        self._windows = windows
        self._revised = revised
        self._telemetry = telemetry
        self._max_rows = max_rows
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

    async def answer(self, sent: Sent, subject: Subject) -> bytes:
        """The JSON answer of a checkpoint to a request.

        Raises:
            InputRefused, Refusal, CheckpointRefused, FileMissing: see what it is made of.
            RevisionNotFound: the body names another revision than there is.
        """
        return await self._run(lambda: self._answer(sent, subject))

    async def look(self, stored: Stored, work: Callable[[Loaded], T]) -> T:
        """What `work` finds in a checkpoint; it must not change the network, which answers.

        Raises:
            CheckpointRefused, FileMissing: see `Networks`; and whatever `work` raises.
        """
        return await self._run(lambda: work(self._networks.loaded(stored)))

    async def prepare(self, stored: Stored) -> None:
        """Make the first prediction as fast as the others.

        Raises:
            CheckpointRefused, FileMissing: see `Networks`.
        """
        await self._run(lambda: self._networks.get(stored))

    def form(self, checkpoint_id: str) -> Form | None:
        """In which form a checkpoint answers; None where it has not answered lately."""
        return self._networks.form(checkpoint_id)

    def close(self) -> None:
        """Finish what waits and end the thread."""
        self._thread.shutdown(wait=True)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _answer(self, sent: Sent, subject: Subject) -> bytes:
        started = time.perf_counter()
        parsed = parse(sent)
        subject = self._turned(subject, parsed.revision)
        ready = self._networks.get(subject.stored)
        asked = decode(parsed, ready.predictor.loaded.facts, self._max_rows)
        body = answer(self._answering(ready, subject), asked, _by(ready, subject))
        self._telemetry.prediction(len(asked.rows), time.perf_counter() - started)
        return body

    def _turned(self, subject: Subject, revision: str | None) -> Subject:
        """The subject that the body names."""
        if revision is None or revision == subject.revision:
            return subject
        if subject.revision is not None:
            raise Invalid(FieldError(path="revision", message="differs from that of the query"))
        return replace(subject, stored=self._revised(subject.stored.id, revision))

    def _answering(self, ready: Ready, subject: Subject) -> Answering:
        """The network, watched if it is asked for as the version of a model."""
        version = subject.version
        if version is None or version.checkpoint_id != subject.stored.id:
            return ready.predictor
        return self._windows.watched(version, ready.predictor)


def _by(ready: Ready, subject: Subject) -> dict[str, Any]:
    stored, version = subject.stored, subject.version
    by: dict[str, Any] = {
        "checkpoint": stored.id,
        "mode": "eval",
        "statistics": ready.predictor.loaded.statistics,
    }
    if version is not None:
        by |= {"name": version.model, "version": version.version}
    if stored.name is not None:
        by["revision"] = stored.name
    if ready.cautions:
        by["warnings"] = [vars(caution) for caution in ready.cautions]
    return by
