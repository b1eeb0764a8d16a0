"""Numbers of a measure as JSON can hold them: short, few, and null where they are not finite."""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any, TypeVar

from torch import Tensor

from model.measures.values import evenly

DIGITS = 6  # significant ones that are written
Layer = TypeVar("Layer")
MOST_NUMBERS = 18_000  # in lists of one probe: at 14 bytes they fit what is kept of it


def number(value: float | Tensor) -> float | None:
    """One number, rounded to 6 significant digits; null where it is not finite."""
    value = float(value)
    return float(f"{value:.{DIGITS}g}") if isfinite(value) else None


def numbers(values: Tensor) -> list[float | None]:
    """Each number of a vector, as `number` gives it."""
    return [number(value) for value in values.tolist()]


def layer_points(
    measure: str,
    kinds: Mapping[str, Callable[[Layer], float | None]],
    numbered: Iterable[tuple[int | str, Layer]],
) -> dict[str, float]:
    """Metric points `measure.kind.number`, all layers of one kind before the next kind.

    Of a very deep network not all are kept: so it is the last kinds that are cut.

    Args:
        kinds: what is told of each layer; None: nothing.
        numbered: layers with their numbers, from 1.
    """
    layers = list(numbered)
    found = {
        f"{measure}.{kind}.{n}": told(layer) for kind, told in kinds.items() for n, layer in layers
    }
    return {name: value for name, value in found.items() if value is not None}


def unit_lists(
    lists: Mapping[str, Tensor], layers: int, most: int = MOST_NUMBERS
) -> dict[str, Any]:
    """One list per name with a number for each unit of a layer, all units where they fit.

    Args:
        lists: (U,) each.
        layers: of which the data will tell as much.
        most: numbers in the lists of all of them.

    Returns:
        The lists, `units` (U), and `shown_units`: null, or the indices of those that are told
        of, evenly spread, where they are not all.
    """
    units = len(next(iter(lists.values())))
    shown = evenly(units, max(1, most // (layers * len(lists))))
    told: dict[str, Any] = {"units": units, "shown_units": shown if len(shown) < units else None}
    return told | {name: numbers(values[shown]) for name, values in lists.items()}
