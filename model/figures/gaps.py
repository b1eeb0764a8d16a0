"""Where a curve cannot be drawn: runs of such points, marked on the edge of the panel."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.figures.place import Place
from model.figures.scales import Floats, can_show
from model.figures.styles import Colour

#: Inches from the edge for each curve of a panel, so that marks of several can be told apart.
INWARD = 0.075
MOST_APART = 6


@dataclass(frozen=True)
class Gap:
    """Neighbouring points that cannot be drawn."""

    first: int
    last: int
    is_high: bool  # marked on the upper edge: too large, or no number at all

    def split(self) -> tuple["Gap", ...]:
        """A gap for each of its points."""
        return tuple(Gap(at, at, self.is_high) for at in range(self.first, self.last + 1))


def gaps_of(values: ArrayLike, is_log: bool) -> tuple[Gap, ...]:
    """The gaps of a series, ascending; on the lower edge is what is too small, or not above 0."""
    numbers = np.asarray(values, np.float64)
    hidden = ~can_show(numbers, is_log)
    is_low = hidden & (numbers < 1)
    kinds = np.where(hidden, np.where(is_low, 1, 2), 0)
    changes = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(kinds)]
    return tuple(
        Gap(first, after - 1, bool(kinds[first] == 2))
        for first, after in pairwise(changes)
        if after > first and kinds[first]
    )


def alone(is_shown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which points stand between gaps or ends, where no line shows them."""
    padded = np.concatenate([[False], is_shown, [False]])
    found: NDArray[np.bool_] = is_shown & ~padded[:-2] & ~padded[2:]
    return found


def mark_gaps(
    place: Place, x: Floats, gaps: tuple[Gap, ...], colour: Colour | str, ordinal: int
) -> None:
    """Cross both ends of each gap on the panel's edge, and join them.

    Args:
        x: coordinates of the points; NaN has no place and no mark.
        ordinal: of the curve in its panel.
    """
    inward = (ordinal % MOST_APART + 0.5) * INWARD / place.height
    across, up = list[float](), list[float]()
    for gap in gaps:
        ends = [float(x[at]) for at in sorted({gap.first, gap.last}) if np.isfinite(x[at])]
        height = 1 - inward if gap.is_high else inward
        across += [*ends, np.nan]
        up += [height] * len(ends) + [np.nan]
    if not across:
        return
    place.axes.plot(
        across,
        up,
        "x",
        transform=place.axes.get_xaxis_transform(),
        color=colour,
        markersize=4.5,
        linestyle=(0, (1, 2)),
        linewidth=1,
        clip_on=False,
        zorder=4,
    )
