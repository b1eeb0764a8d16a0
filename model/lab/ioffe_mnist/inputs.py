"""What enters the sigmoids of the last hidden layer while the network trains, unit by unit."""

from model.lab.drift import Units, known, probed
from model.lab.results import RunResult

LEVELS = ("p15", "p50", "p85")


def percentiles(run: RunResult) -> list[tuple[int, dict[str, Units]]]:
    """Percentiles 15, 50 and 85 of every unit's input, with the steps done at each probe."""
    layers = [(step, found[-1]) for step, found in probed(run, "percentiles")]
    return [(step, {name: known(layer[name]) for name in LEVELS}) for step, layer in layers]


def median(run: RunResult) -> list[tuple[int, Units]]:
    """The median of every unit's input."""
    return [(step, levels["p50"]) for step, levels in percentiles(run)]


def width(run: RunResult) -> list[tuple[int, Units]]:
    """How far percentile 85 of every unit's input is above percentile 15."""
    return [(step, _width(levels)) for step, levels in percentiles(run)]


def _width(levels: dict[str, Units]) -> Units:
    return [high - low for low, high in zip(levels["p15"], levels["p85"], strict=True)]
