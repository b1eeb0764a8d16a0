"""What a window says: per layer a score beside its threshold, and one verdict for the model."""

from dataclasses import dataclass
from typing import Any, Literal

from model.statistics.drift.rows import Sums
from model.statistics.drift.scores import Channel, Reference, channel_scores, top_channels
from model.statistics.drift.thresholds import Thresholds

State = Literal["uncalibrated", "filling", "quiet", "alarm"]
TOP = 5  # channels that are named per layer


@dataclass(frozen=True)
class LayerDrift:
    """One layer of a window."""

    layer: str  # state-dict prefix
    score: float  # mean over channels
    threshold: float | None  # None where nothing is calibrated
    top: tuple[Channel, ...]  # the channels that score most, the highest first

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "layer": self.layer,
            "score": self.score,
            "threshold": self.threshold,
            "largest_channel": self.top[0].to_json(),
            "top_channels": [channel.to_json() for channel in self.top],
        }


@dataclass(frozen=True)
class DriftState:
    """A network's rolling window, judged. An alarm says that inputs differ, not that answers
    are worse: another mixture of classes fires it too, so the predicted classes stand beside it.
    """

    state: State
    window_rows: int  # rows that were judged; 0 while the window fills
    rows: int  # rows that the window holds
    sizes: tuple[int, ...]  # calibrated window sizes
    alarm: float | None  # largest score / threshold; drift above 1
    layers: tuple[LayerDrift, ...]  # network order; empty while the window fills
    predicted_classes: list[int] | None  # rows of the window by class; None for regression

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "state": self.state,
            "window_rows": self.window_rows,
            "rows": self.rows,
            "sizes": list(self.sizes),
            "largest_window": max(self.sizes, default=None),
            "alarm": self.alarm,
            "layers": [layer.to_json() for layer in self.layers],
            "predicted_classes": self.predicted_classes,
        }


def judged(
    references: tuple[Reference, ...],
    parts: list[Sums],
    positions: list[int],
    thresholds: Thresholds,
    window_rows: int,
    rows: int,
    classes: list[int] | None,
) -> DriftState:
    """The state of a window from its sums.

    Args:
        parts: the window's sums, one per reference, (C,).
        positions: values per channel of one row, one per reference.
        window_rows: rows in `parts`; 0 for none.
        rows: as in `DriftState`.
        classes: rows of the window by predicted class.
    """
    limits = thresholds.by_size.get(window_rows)
    layers = tuple(
        _layer(reference, sums, window_rows, count, None if limits is None else limits[index])
        for index, (reference, sums, count) in enumerate(
            zip(references, parts, positions, strict=True)
        )
        if window_rows
    )
    alarm = None if limits is None else largest_share(layers)
    return DriftState(
        _state(thresholds, alarm), window_rows, rows, thresholds.sizes, alarm, layers, classes
    )


def largest_share(layers: tuple[LayerDrift, ...]) -> float:
    """The largest score over threshold of calibrated layers."""
    return max(layer.score / layer.threshold for layer in layers if layer.threshold is not None)


def _layer(
    reference: Reference, sums: Sums, rows: int, positions: int, threshold: float | None
) -> LayerDrift:
    offset, variance = sums.moments(rows * positions)
    score = channel_scores(reference, offset, variance).mean().item()
    top = top_channels(reference, offset, variance, rows, TOP)
    return LayerDrift(reference.name, score, threshold, top)


def _state(thresholds: Thresholds, alarm: float | None) -> State:
    if not thresholds.is_calibrated:
        return "uncalibrated"
    if alarm is None:
        return "filling"
    return "alarm" if alarm > 1 else "quiet"
