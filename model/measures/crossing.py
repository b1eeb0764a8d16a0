"""Step lengths, and the first of them at which a loss has passed a level."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import ceil, log10, sqrt
from typing import Any, Literal

_ROUNDING = 1e-9  # of a decade: 1e-8 to 10 is nine of them, whatever log10 rounds to


@dataclass(frozen=True)
class Crossing:
    """Where a curve first passes a level, or on which side of all steps that lies.

    `below`: it has passed at the shortest step already. `above`: at no step.
    """

    alpha: float | None  # None: there is only a bound
    bound: Literal["below", "above"] | None

    def to_json(self) -> dict[str, Any]:
        """The crossing as JSON-ready values."""
        return {"alpha": self.alpha, "bound": self.bound}


def first_above(alphas: Sequence[float], values: Sequence[float], level: float) -> Crossing:
    """The first step whose value is not at or below the level; NaN is above every level.

    A level that is NaN or infinite is no level: every step counts as beyond it.

    Args:
        alphas: ascending step lengths, at least one.
        values: one for each.
    """
    held = len(list(takewhile(lambda value: is_held(value, level), values)))
    if held == 0:
        return Crossing(None, "below")
    return Crossing(None, "above") if held == len(alphas) else Crossing(alphas[held], None)


def is_held(value: float, level: float) -> bool:
    """Whether a value is at or below a finite level."""
    return value <= level < float("inf")


def log_steps(low: float, high: float, per_decade: int) -> list[float]:
    """Step lengths from low to high at equal ratios, at least so many in a decade, both ends in."""
    decades = log10(high) - log10(low)
    return spread(low, high, 1 + max(1, ceil(decades * per_decade - _ROUNDING)), "log")


def spread(low: float, high: float, count: int, spacing: Literal["linear", "log"]) -> list[float]:
    """`count` numbers from low to high at equal distances or equal ratios, both ends exact."""
    ends, inner = (low, high), range(1, count - 1)
    if spacing == "log":
        low, high = log10(low), log10(high)
    middle = (low + (high - low) * index / (count - 1) for index in inner)
    return [ends[0], *(10**one if spacing == "log" else one for one in middle), ends[1]]


def first_crossing(
    value: Callable[[float], float], level: float, alphas: Iterable[float]
) -> tuple[float | None, float | None]:
    """The last step before a curve first passes a level, and the first one after it.

    Steps behind the crossing are not looked at.

    Args:
        value: of the curve at a step length.
        alphas: ascending step lengths.

    Returns:
        (None, first) where the first step has passed already, (last, None) where none has.
    """
    before = None
    for alpha in alphas:
        if not is_held(value(alpha), level):
            return before, alpha
        before = alpha
    return before, None


def bisect(
    value: Callable[[float], float], level: float, held: float, passed: float, tolerance: float
) -> float:
    """Between a step that holds a level and one that has passed it, halved as ratios.

    Returns:
        A step that holds the level, such that one at most `1 + tolerance` times as long does not.
    """
    while passed > held * (1 + tolerance):
        middle = sqrt(held) * sqrt(passed)
        if is_held(value(middle), level):
            held = middle
        else:
            passed = middle
    return held
