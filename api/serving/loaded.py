"""Networks in memory, ready to answer: the least recently used leave when there are too many.

Not for several threads: only the prediction thread touches it.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from api.stored import Stored as StoredFile
from api.stored import load
from core.files import FileStore
from model.predict import Predictor


class Stored(StoredFile, Protocol):
    """What the record of a checkpoint knows of its network."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def bytes(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class _Held:
    predictor: Predictor
    bytes: int


class Networks:
    """Checkpoints as predictors, loaded when they are first asked for.

    Args:
        files: where checkpoint files lie.
        limit: networks held at once.
        limit_bytes: bytes of their files together; one network may be larger than that alone.
    """

    def __init__(self, files: FileStore, limit: int, limit_bytes: int) -> None:
        self._files = files
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._held: OrderedDict[str, _Held] = OrderedDict()

    def get(self, stored: Stored) -> Predictor:
        """The predictor of a checkpoint, from memory or from its file, which is verified.

        Raises:
            FileMissing, StoreUnavailable: the file cannot be read.
            CheckpointRefused: the file is not what was written.
        """
        held = self._held.get(stored.id)
        if held is None:
            held = _Held(Predictor(load(self._files, stored)), stored.bytes)
            self._held[stored.id] = held
            self._evict()
        self._held.move_to_end(stored.id)
        return held.predictor

    def __len__(self) -> int:
        return len(self._held)

    def _evict(self) -> None:
        while len(self._held) > 1 and (
            len(self._held) > self._limit
            or sum(held.bytes for held in self._held.values()) > self._limit_bytes
        ):
            self._held.popitem(last=False)
