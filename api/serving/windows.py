"""The drift windows of the models that this process answers for: what their predictions saw.

A window is of one version of one model. It stays when the network leaves memory, and counts what
is asked of the version by its model's name: neither what is asked of the run, nor what another
revision answers, for other statistics are compared with other moments.

Watching never fails a prediction. A window that cannot be watched is given up, and says so.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from core import logs
from core.drift import Key
from core.models import Version
from model.checkpoint import Loaded
from model.errors import ModelError
from model.predict import Predictor
from model.statistics.drift.monitor import Monitor
from model.statistics.drift.reference import running
from model.statistics.drift.state import DriftState
from model.statistics.drift.thresholds import SHARE, SMALLEST, Thresholds

MOST_WINDOWS = 64
_log = logs.get(__name__)

Floats = npt.NDArray[np.floating[Any]]


class Answering(Protocol):
    """A network that answers rows."""

    @property
    def loaded(self) -> Loaded: ...  # noqa: D102
    def logits(self, rows: npt.NDArray[np.generic]) -> Floats: ...  # noqa: D102


class Window:
    """What the predictions of one version saw.

    Args:
        loaded: the version's checkpoint.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.predictions = 0
        self._classes = loaded.facts.classes
        self._monitor: Monitor | None = None
        self._why = _uncalibrated(loaded)
        self._told: tuple[int, dict[str, Any]] | None = None
        try:
            self._monitor = _monitor(loaded)
        except Exception:  # whatever it is: nobody asked for watching
            self._give_up()

    def logits(self, predictor: Predictor, rows: npt.NDArray[np.generic]) -> Floats:
        """What `predictor` answers, watched. For the thread that predicts.

        Raises:
            InputRefused: see `Predictor.logits`.
        """
        answer = self._watched(predictor, rows)
        self.predictions += 1  # only now: whoever asked meanwhile has not seen it
        return answer

    def state(self) -> dict[str, Any]:
        """JSON of `DriftState`, its classes by name, and a message. For any thread."""
        predictions, told = self.predictions, self._told
        if told is None or told[0] != predictions:
            told = self._told = (predictions, self._state())
        return told[1]

    def _watched(self, predictor: Predictor, rows: npt.NDArray[np.generic]) -> Floats:
        monitor = self._monitor
        if monitor is None:
            return predictor.logits(rows)
        try:
            with monitor.watching(predictor.watch(), len(rows)):
                return predictor.logits(rows)
        except ModelError:
            raise
        except Exception:
            answer = predictor.logits(rows)  # raises again, unless it was the watching
            self._give_up()
            return answer

    def _state(self) -> dict[str, Any]:
        monitor = self._monitor
        if monitor is not None:
            try:
                return self._json(monitor.state())
            except Exception:
                self._give_up()
        return self._json(_EMPTY)

    def _json(self, state: DriftState) -> dict[str, Any]:
        counts, classes = state.predicted_classes, self._classes
        named = None if counts is None or classes is None else _named(classes, counts)
        message = self._why if state.state == "uncalibrated" else _message(state)
        return state.to_json() | {"predicted_classes": named, "message": message}

    def _give_up(self) -> None:
        """Watch no more; predictions go on. Called while the error is handled."""
        _log.exception("the drift of a model is not watched any more")
        self._monitor, self._told = None, None
        self._why = "Watching failed in this process and was given up; its log says why."


class Windows:
    """The windows of the versions that were asked last; the others are forgotten.

    Predictions come from one thread, questions from any.
    """

    def __init__(self, limit: int = MOST_WINDOWS) -> None:
        self._limit = limit
        self._windows: OrderedDict[Key, Window] = OrderedDict()
        self._lock = threading.Lock()

    def watched(self, version: Version, predictor: Predictor) -> Answering:
        """The predictor of a version, which its window watches.

        Args:
            predictor: of the version's own checkpoint.
        """
        key = version.model, version.version
        with self._lock:
            window = self._windows.get(key)
            if window is None:
                window = self._windows[key] = Window(predictor.loaded)
                if len(self._windows) > self._limit:
                    self._windows.popitem(last=False)
            self._windows.move_to_end(key)
        return _Watched(window, predictor)

    def get(self, key: Key) -> Window | None:
        """The window of a version; None where this process has not answered for it lately."""
        with self._lock:
            return self._windows.get(key)

    def all(self) -> dict[Key, Window]:
        """Every window, the one asked least recently first."""
        with self._lock:
            return dict(self._windows)

    def forget(self, model: str, versions: Sequence[int] | None = None) -> None:
        """Drop the windows of a model, or of some of its versions, because they are deleted."""
        with self._lock:
            for key in [key for key in self._windows if key[0] == model]:
                if versions is None or key[1] in versions:
                    del self._windows[key]


class _Watched:
    """One version's network while its window watches."""

    __slots__ = ("_predictor", "_window", "loaded")

    def __init__(self, window: Window, predictor: Predictor) -> None:
        self._window, self._predictor, self.loaded = window, predictor, predictor.loaded

    def logits(self, rows: npt.NDArray[np.generic]) -> Floats:
        return self._window.logits(self._predictor, rows)


_EMPTY = DriftState("uncalibrated", 0, 0, (), None, (), None)


def _monitor(loaded: Loaded) -> Monitor | None:
    """None where there is nothing to compare with."""
    known = loaded.about.drift
    references = running(loaded.network) if known is None else known.references(loaded.network)
    if not references:
        return None
    names = tuple(reference.name for reference in references)
    thresholds = Thresholds(0, names, {}) if known is None else known.thresholds
    classes = 0 if loaded.facts.classes is None else loaded.facts.outputs
    return Monitor(references, thresholds, classes)


def _uncalibrated(loaded: Loaded) -> str:
    known = loaded.about.drift
    if known is None:
        return (
            "The checkpoint has no thresholds: they are drawn when a run saves it, or when it is "
            "recalibrated with rows of its own dataset. Scores have nothing to be judged by."
        )
    return (
        f"Thresholds are drawn from {SHARE * SMALLEST} rows or more that trained nothing, and "
        f"there were {known.thresholds.rows}: a larger split.calibration holds more of them back. "
        "Scores have nothing to be judged by."
    )


def _message(state: DriftState) -> str:
    if state.state == "filling":
        return (
            f"Inputs are judged once {state.sizes[0]} rows have been watched; as yet it is fewer."
        )
    last = f"The last {state.window_rows} inputs"
    if state.state == "quiet":
        return f"{last} do not differ from the training statistics more than by chance."
    return (
        f"{last} differ from the training statistics. Another mixture of classes fires this alarm, "
        "too: look at predicted_classes. It does not say that answers are worse."
    )


def _named(classes: Sequence[str], counts: list[int]) -> list[dict[str, Any]]:
    return [{"label": c, "rows": rows} for c, rows in zip(classes, counts, strict=True)]
