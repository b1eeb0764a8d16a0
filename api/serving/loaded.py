"""Networks in memory, ready to answer: the least recently used leave when there are too many.

Not for several threads: only the prediction thread touches it. Others may ask for `form`.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from api.calibration_rows import MOST_ROWS
from api.serving.lag import Caution, cautions_of
from api.stored import Stored as StoredFile
from api.stored import load
from api.telemetry import Telemetry
from core.files import FileStore
from model.checkpoint import Loaded
from model.predict import Predictor

NO_ROWS = "there are no rows of its dataset to compare a fold on"

#: Raw rows of a dataset by its name, at most so many; None where it is not there.
RowsOf = Callable[[str, int], npt.NDArray[np.generic] | None]


class Stored(StoredFile, Protocol):
    """What the record of a checkpoint knows of its network."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def bytes(self) -> int: ...  # noqa: D102
    @property
    def name(self) -> str | None: ...  # noqa: D102
    @property
    def norm_layers(self) -> int: ...  # noqa: D102
    @property
    def spec(self) -> dict[str, Any]: ...  # noqa: D102


@dataclass(frozen=True)
class Form:
    """In which form a network answers."""

    folded: bool | None  # None: it has no batch norm behind a layer that could take it
    largest_difference: float | None  # from the network as trained, share of the largest logit
    refusal: str | None  # why it is not folded, where something stands against it


@dataclass(frozen=True)
class Ready:
    """A network that answers."""

    predictor: Predictor
    form: Form
    cautions: tuple[Caution, ...]  # told with every answer


@dataclass
class _Held:
    loaded: Loaded
    bytes: int
    ready: Ready | None = None  # None: it was only looked at


class Networks:
    """Checkpoints in memory, loaded when they are first asked for.

    Batch norm is folded into the layer before it at the first prediction, where the answers
    stay as near as `model.predict.Predictor` wants; a look sees the network as trained.

    Args:
        files: where checkpoint files lie.
        rows_of: gives the rows on which a folded network is compared.
        limit: networks held at once.
        limit_bytes: bytes of their files and folded copies together; one network may be larger
            than that alone.
    """

    def __init__(
        self,
        files: FileStore,
        rows_of: RowsOf,
        telemetry: Telemetry,
        limit: int,
        limit_bytes: int,
    ) -> None:
        self._files = files
        self._rows_of = rows_of
        self._telemetry = telemetry
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._held: OrderedDict[str, _Held] = OrderedDict()

    def loaded(self, stored: Stored) -> Loaded:
        """A checkpoint as trained, from memory or from its file, which is verified.

        Raises:
            FileMissing, StoreUnavailable: the file cannot be read.
            CheckpointRefused: the file is not what was written.
        """
        return self._hold(stored).loaded

    def get(self, stored: Stored) -> Ready:
        """A checkpoint that answers.

        Raises:
            FileMissing, StoreUnavailable, CheckpointRefused: see `loaded`.
        """
        held = self._hold(stored)
        if held.ready is None:
            held.ready = self._made_ready(held.loaded, stored)
            held.bytes += _folded_bytes(held.ready.predictor)
            self._changed()
        return held.ready

    def form(self, checkpoint_id: str) -> Form | None:
        """In which form a checkpoint answers; None where it is not ready. For any thread."""
        held = self._held.get(checkpoint_id)
        return None if held is None or held.ready is None else held.ready.form

    def __len__(self) -> int:
        return len(self._held)

    def _hold(self, stored: Stored) -> _Held:
        held = self._held.get(stored.id)
        if held is None:
            held = self._held[stored.id] = _Held(load(self._files, stored), stored.bytes)
            self._changed()
        self._held.move_to_end(stored.id)
        return held

    def _made_ready(self, loaded: Loaded, stored: Stored) -> Ready:
        rows = None
        if stored.norm_layers:
            # No more than pass at once, so that a large network is not compared for a minute.
            rows = self._rows_of(stored.spec["dataset"], min(MOST_ROWS, loaded.block_rows))
        predictor = Predictor(loaded, rows)
        lacks_rows = stored.norm_layers > 0 and rows is None
        return Ready(predictor, _form(predictor, lacks_rows), cautions_of(loaded))

    def _changed(self) -> None:
        while len(self._held) > 1 and (
            len(self._held) > self._limit
            or sum(held.bytes for held in self._held.values()) > self._limit_bytes
        ):
            self._held.popitem(last=False)
        self._telemetry.networks(Counter(_word(held.ready) for held in self._held.values()))


def _form(predictor: Predictor, lacks_rows: bool) -> Form:
    if predictor.comparison is not None:
        return Form(True, predictor.comparison.difference, None)
    refusal = NO_ROWS if lacks_rows else predictor.refusal
    return Form(None if refusal is None else False, None, refusal)


def _word(ready: Ready | None) -> str:
    if ready is None or ready.form.folded is None:
        return "unfolded"
    return "folded" if ready.form.folded else "refused"


def _folded_bytes(predictor: Predictor) -> int:
    """What the copy takes that answers in place of the network as trained."""
    if predictor.folded is None:
        return 0
    return sum(tensor.nbytes for tensor in predictor.network.state_dict().values())
