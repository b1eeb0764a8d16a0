"""The numbers of a figure of running statistics, out of a history's JSON.

A history has what `model.statistics.history.point` says at each checkpoint, by ascending step.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from math import isfinite, nan
from typing import Any, Literal, TypeVar

Source = Literal["running", "batch"]  # whose distance from the population
Measure = Literal["mean_sd", "log_variance"]
Item = TypeVar("Item")

LARGEST = 1e100  # more overflows an axis; no statistics of a network that works come near


@dataclass(frozen=True)
class Band:
    """Quartiles over a layer's channels, one per checkpoint; NaN where there is no number."""

    p25: tuple[float, ...]
    median: tuple[float, ...]
    p75: tuple[float, ...]

    @property
    def gaps(self) -> tuple[bool, ...]:
        """At which checkpoints a number is missing."""
        each = zip(self.p25, self.median, self.p75, strict=True)
        return tuple(not all(map(isfinite, three)) for three in each)

    @property
    def alone(self) -> tuple[bool, ...]:
        """Which checkpoints stand between gaps or ends, where no line and no band shows them."""
        gaps = self.gaps
        sides = zip((True, *gaps), gaps, (*gaps[1:], True), strict=False)
        return tuple(before and not gap and after for before, gap, after in sides)

    @property
    def values(self) -> tuple[float, ...]:
        """Every number there is."""
        return tuple(one for one in (*self.p25, *self.median, *self.p75) if isfinite(one))


@dataclass(frozen=True)
class LayerDistances:
    """How far one norm layer's statistics are from the population's, over the checkpoints."""

    layer: str  # state-dict prefix
    channels: int
    bands: Mapping[tuple[Source, Measure], Band]

    @property
    def has_gaps(self) -> bool:
        """Whether any number is missing."""
        return any(any(band.gaps) for band in self.bands.values())


def layer_distances(points: Iterable[Mapping[str, Any]]) -> list[LayerDistances]:
    """Every layer of a history, in network order.

    Args:
        points: of the history, as its JSON has them; a null is a number that is missing.
    """
    by_point = [{layer["layer"]: layer for layer in point["layers"]} for point in points]
    channels = {name: layer["channels"] for layers in by_point for name, layer in layers.items()}
    return [
        LayerDistances(name, count, _bands([layers.get(name) or {} for layers in by_point]))
        for name, count in channels.items()
    ]


def limits(bands: Iterable[Band], least: tuple[float, float]) -> tuple[float, float]:
    """Ends of an axis that shows every number of some bands, with a margin.

    Args:
        least: what the axis shows in any case.
    """
    values = [*least, *chain.from_iterable(band.values for band in bands)]
    margin = 0.06 * (max(values) - min(values))
    return min(values) - margin, max(values) + margin


def evenly(items: list[Item], most: int) -> list[Item]:
    """At most so many of the items, evenly chosen, the first and the last among them.

    Args:
        most: at least 2.
    """
    if len(items) <= most:
        return items
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]


def _bands(layers: list[Mapping[str, Any]]) -> dict[tuple[Source, Measure], Band]:
    sources: tuple[Source, ...] = ("running", "batch")
    measures: tuple[Measure, ...] = ("mean_sd", "log_variance")
    return {
        (source, measure): _band([_quartiles(layer, source, measure) for layer in layers])
        for source in sources
        for measure in measures
    }


def _quartiles(layer: Mapping[str, Any], source: Source, measure: Measure) -> Mapping[str, Any]:
    distance = layer.get(f"{source}_distance") or {}
    return distance.get(measure) or {}


def _band(quartiles: list[Mapping[str, Any]]) -> Band:
    return Band(*(tuple(_number(of.get(q)) for of in quartiles) for q in ("p25", "median", "p75")))


def _number(value: float | None) -> float:
    return nan if value is None or not abs(value) < LARGEST else float(value)
