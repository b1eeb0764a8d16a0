"""The scale of an axis or of colours: which numbers it shows, where, and with which ticks."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from math import ceil, floor, log10

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.figures.distances import LARGEST

Floats = NDArray[np.float64]
MOST_TICKS = 8
MOST_PLACES = 4
MOST_PLAIN = 1e6  # from here on a tick has an exponent
_STEPS = (1.0, 2.0, 2.5, 5.0)


@dataclass(frozen=True)
class Tick:
    """A place on an axis and its words."""

    at: float  # in the axis's own coordinate
    text: str


@dataclass(frozen=True)
class Scale:
    """An interval of numbers. Its coordinate is the number, or its logarithm to base 10."""

    low: float
    high: float
    is_log: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """Coordinates of both ends."""
        return (log10(self.low), log10(self.high)) if self.is_log else (self.low, self.high)

    def at(self, values: ArrayLike) -> Floats:
        """Coordinates of numbers; NaN for those that no such axis can show."""
        numbers = np.asarray(values, np.float64)
        kept = np.where(can_show(numbers, self.is_log), numbers, np.nan)
        return np.log10(kept) if self.is_log else kept

    def share(self, values: ArrayLike) -> Floats:
        """Where numbers are between the ends, 0 to 1; beyond the ends, at the ends."""
        low, high = self.ends
        return np.clip((self.at(values) - low) / (high - low), 0, 1)

    def holds(self, values: ArrayLike) -> NDArray[np.bool_]:
        """Which numbers are within the ends."""
        at = self.at(values)
        low, high = self.ends
        margin = 1e-9 * (high - low)
        return (at >= low - margin) & (at <= high + margin)

    def ticks(self, most: int) -> tuple[Tick, ...]:
        """At most so many round numbers, at least 2, evenly spread where that can be."""
        found = self._powers(most) if self.is_log else None
        values = _round_numbers(self.low, self.high, most) if found is None else found
        texts = tick_texts(values, self.is_log)
        return tuple(
            Tick(float(self.at(value)), text) for value, text in zip(values, texts, strict=True)
        )

    def _powers(self, most: int) -> list[float] | None:
        """Powers of ten, or some multiples of those; None where fewer than two have room."""
        low, high = self.ends
        first, last = ceil(low - 1e-9), floor(high + 1e-9)
        if last - first >= 2:
            stride = ceil((last - first + 1) / most)
            return [float(f"1e{power}") for power in range(first, last + 1, stride)]
        for multiples in ((1, 2, 5), (1, 3), (1,)):
            each = (
                float(f"{m}e{power}") for power in range(first - 1, last + 1) for m in multiples
            )
            found = [value for value in each if self.holds(value)]
            if 2 <= len(found) <= most:
                return found
        return None


def can_show(values: ArrayLike, is_log: bool = False) -> NDArray[np.bool_]:
    """Which numbers an axis can show: finite, of a size that does not overflow it, and on a
    logarithmic one above 0."""
    numbers = np.asarray(values, np.float64)
    with np.errstate(invalid="ignore"):
        return (np.abs(numbers) < LARGEST) & ((numbers > 1 / LARGEST) | (not is_log))


def why_not(values: ArrayLike, is_log: bool = False) -> tuple[str, ...]:
    """In words, why some of the numbers cannot be shown; () where all can."""
    numbers = np.asarray(values, np.float64)
    hidden = numbers[~can_show(numbers, is_log)]
    finite = hidden[np.isfinite(hidden)]
    reasons = {
        "not finite": len(finite) < len(hidden),
        "not above 0": is_log and bool((finite <= 0).any()),
        "too large or small to draw": bool(((finite > 0) | (not is_log)).any()),
    }
    return tuple(reason for reason, holds in reasons.items() if holds)


def scale_of(
    parts: Iterable[ArrayLike],
    is_log: bool = False,
    least: tuple[float, ...] = (),
    margin: float = 0.05,
) -> Scale:
    """The scale that shows every number of all parts that can be shown.

    Args:
        least: numbers that it shows in any case.
        margin: on both sides, as a share of the whole.
    """
    arrays = [np.ravel(np.asarray(part, np.float64)) for part in (*parts, least)]
    numbers = np.concatenate(arrays)
    numbers = numbers[can_show(numbers, is_log)]
    if not len(numbers):
        return Scale(0.1, 10.0, True) if is_log else Scale(0.0, 1.0)
    on_axis = np.log10(numbers) if is_log else numbers
    low, high = widened(float(on_axis.min()), float(on_axis.max()), margin, is_log)
    return Scale(10**low, 10**high, True) if is_log else Scale(low, high)


def widened(low: float, high: float, margin: float, is_log: bool = False) -> tuple[float, float]:
    """Ends of an axis with a margin; those of one number, or nearly one, are set apart."""
    middle = (low + high) / 2
    if high - low < (0.01 if is_log else max(1e-6 * abs(middle), 1 / LARGEST)):
        half = 0.05 * abs(middle) if not is_log and abs(middle) > 1 / LARGEST else 0.5
        low, high = middle - half, middle + half
    spread = margin * (high - low)
    return low - spread, high + spread


def ticks_with_room(
    scale: Scale, length: float, apart: float, width_of: Callable[[str], float]
) -> tuple[Tick, ...]:
    """As many ticks as have room beside each other.

    Args:
        length: of the axis.
        apart: the least room between the words of two, in the same unit.
        width_of: the room that words take.
    """
    low, high = scale.ends
    for most in range(MOST_TICKS, 1, -1):
        ticks = scale.ticks(most)
        gaps = (after.at - before.at for before, after in pairwise(ticks))
        gap = length * min(gaps, default=high - low) / (high - low)
        if gap >= max((width_of(tick.text) for tick in ticks), default=0) + apart:
            return ticks
    return scale.ticks(2)[:1]


def tick_texts(values: list[float], is_log: bool = False) -> list[str]:
    """Numbers of one axis in words, all plain or all with an exponent."""
    each = [Decimal(f"{value:.12g}").normalize() for value in values]
    places = max((-_exponent(one) for one in each if one), default=0)
    largest = max((abs(value) for value in values), default=0)
    is_long = places > MOST_PLACES and (is_log or largest < 0.1)
    if largest >= MOST_PLAIN or is_long:
        return [_with_exponent(one) for one in each]
    if is_log:
        return [f"{one:,f}" for one in each]
    return [f"{one:,.{max(places, 0)}f}" for one in each]


def number_text(value: float) -> str:
    """One number with four digits, as a person would write it."""
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else "inf" if value > 0 else "-inf"
    if value and not 1e-3 <= abs(value) < MOST_PLAIN:
        return _with_exponent(Decimal(f"{value:.3g}").normalize())
    return f"{Decimal(f'{value:.4g}').normalize() + 0:,f}"


def _with_exponent(value: Decimal) -> str:
    if not value.adjusted() or not value:
        return f"{value:f}"
    sign, digits, _ = value.as_tuple()
    first, *rest = map(str, digits)
    mantissa = f"{first}.{''.join(rest)}" if rest else first
    return f"{'-' if sign else ''}{mantissa}e{value.adjusted()}"


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)  # of a finite number
    return exponent


def _round_numbers(low: float, high: float, most: int) -> list[float]:
    for step in _steps((high - low) / most):
        first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
        if last - first < most:
            return [float(f"{k * step:.12g}") for k in range(first, last + 1)]
    raise AssertionError("a step that is large enough leaves one tick")


def _steps(least: float) -> Iterator[float]:
    power = floor(log10(least))
    for exponent in (power, power + 1, power + 2):
        yield from (float(f"{step}e{exponent}") for step in _STEPS)
