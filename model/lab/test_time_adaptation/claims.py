"""What the papers claim of adapted statistics, each as a number of one run."""

from collections.abc import Callable
from math import inf
from statistics import fmean
from typing import Literal

from model.lab.test_time_adaptation.corruptions import Corruption
from model.lab.test_time_adaptation.looks import FEW, MIXED, SKEWED, WEIGHTS, AllLooks, Looks, Map
from model.lab.verdict import Declared, OfSeed

MARGIN = 2.0  # points of accuracy that count as no effect
CLEAN = 0.5  # points by which adaptation may seem to help clean rows
SMALL = 4  # rows whose statistics alone are claimed to harm
HARM = 5.0  # points that count as harm
FEW_MARGIN = 0.5  # points by which a mixture must be better than both ends
ECE_MARGIN = 0.01

Number = Callable[[Looks], float]
ALL_ROWS = "statistics of all target rows - of the source"

PRIMARY = Declared(
    f"accuracy on corrupted rows, mean over all: {ALL_ROWS}",
    "points",
    "difference",
    "above",
    MARGIN,
)
MIXTURE = Declared(
    f"accuracy with n = {FEW}, mean over all corruptions: a mixture, N chosen on the other seeds - "
    "the better of N = 0 and no adaptation",
    "points",
    "difference",
    "above",
    FEW_MARGIN,
)


def gain(looks: Looks, name: str = "accuracy", corruption: Corruption | None = None) -> float:
    """What the statistics of all target rows add to a score, averaged over severities."""
    target = looks.mean("target", name, corruption)
    return target - looks.mean("source", name, corruption)


def claims() -> tuple[tuple[Declared, Number], ...]:
    """All but the first and the mixture."""
    on_clean = "accuracy on clean rows"
    on_map = "accuracy on the corrupted rows of the map"
    return (
        (
            _points(f"{on_clean}, largest gain over all n and N: above {CLEAN:g}", "below", 0.0),
            lambda one: largest_gain(one.clean) - CLEAN,
        ),
        (
            _points(f"{on_clean}, n = {SMALL}: N = 0 - no adaptation", "below", HARM),
            lambda one: alone(one.clean),
        ),
        (
            _points(f"{on_map}, largest n: N = 0 - the best N, plus {MARGIN:g}", "above", 0.0),
            lambda one: forgotten(one.shifted) + MARGIN,
        ),
        (
            _points(
                f"{on_map}, n = {SKEWED}, N = 0: chunks sorted by class - shuffled", "below", HARM
            ),
            lambda one: one.one_class - one.mixed_classes,
        ),
        (
            Declared(
                f"expected calibration error on corrupted rows, mean over all: {ALL_ROWS}",
                "",
                "difference",
                "below",
                ECE_MARGIN,
            ),
            lambda one: gain(one, "ece"),
        ),
    )


def largest_gain(found: Map) -> float:
    """By how much the best cell of a map is better than no adaptation of the same rows."""
    return max(value - found[size, inf] for (size, _), value in found.items())


def alone(found: Map) -> float:
    """What the statistics of 4 rows alone, or of as many as there are, add to the source's."""
    small = max(size for size, _ in found if size <= SMALL)
    return found[small, 0.0] - found[small, inf]


def forgotten(found: Map) -> float:
    """With most rows, how far forgetting the source is from the best weight: 0 or below."""
    most = max(size for size, _ in found)
    return found[most, 0.0] - max(found[most, weight] for weight in WEIGHTS)


def mixtures(looks: AllLooks) -> list[OfSeed]:
    """Of each seed, the mixture that the other seeds choose against the better of both ends."""
    return [_mixture(seed, looks) for seed in sorted(looks)]


def _mixture(seed: int, looks: AllLooks) -> OfSeed:
    others = [one for other, one in looks.items() if other != seed]
    if not others:
        return OfSeed(seed, None, "no other seed to choose N by")
    chosen = max(MIXED, key=lambda weight: fmean(one.few(weight) for one in others))
    mine = looks[seed]
    ends = max(mine.few(0.0), mine.few(inf))
    return OfSeed(seed, mine.few(chosen) - ends, f"N = {chosen:g}")


def _points(name: str, claimed: Literal["above", "below"], margin: float) -> Declared:
    return Declared(name, "points", "difference", claimed, margin)
