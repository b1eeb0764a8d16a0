"""Curves with their bands, guides and marked points."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.figures.charts import Curve, Curves, Numbers
from model.figures.drawing import OfPanel
from model.figures.flags import Flag, draw_flags, flags_of, lettered, room_of, shown_marks
from model.figures.gaps import Gap, alone, gaps_of, mark_gaps
from model.figures.guides import draw_guides, guide_entries, guides_on
from model.figures.legend import Entry, band_of, gap_entries
from model.figures.place import (
    Place,
    room_below,
    room_beside,
    say_nothing,
    show_below,
    show_beside,
    ticks_below,
    ticks_beside,
)
from model.figures.scales import Floats, Scale, scale_of, why_not
from model.figures.styles import DASHED, Style, ordinals, style_of
from model.figures.text import counted

MOST_POINTS = 2000  # drawn of one curve
ALL_MARKED = 12  # points of a line that all have a mark; a longer one has fewer marks
OVERHANG = 0.3  # inches to the right of the axes, for half of the last tick's words


@dataclass(frozen=True)
class CurvesDrawing(OfPanel[Curves]):
    """One panel of curves."""

    x: Scale
    y: Scale

    @property
    def sides(self) -> tuple[str, ...]:
        """Labels beside its axes."""
        return (self.panel.y_label,)

    def entries(self, width: float) -> tuple[Entry, ...]:
        """A line for each label, then guides, letters of marks, and what crosses mean."""
        named = (_entry(*one) for one in zip(self.panel.curves, self._styles, strict=True))
        marks = shown_marks(self.panel.marks, self.x, self.y)
        told = lettered(self._flags(width), marks)
        reasons = [why for one in self.panel.curves for why in _why_not(one, self.panel.y_log)]
        return (
            *(entry for entry in named if entry.label),
            *guide_entries(self.panel.guides),
            *(Entry(f"{letter}: {words}") for letter, words in told),
            *gap_entries(reasons),
        )

    def notes(self, width: float) -> tuple[str, ...]:
        """What was thinned out, is beyond the axes or has no place on them."""
        found = [note for curve in self.panel.curves for note in self._notes(curve)]
        marks = self.panel.marks
        hidden = len(marks) - len(shown_marks(marks, self.x, self.y))
        return (*found, *([f"{counted(hidden, 'mark')} beyond the axes"] if hidden else ()))

    def height(self, width: float) -> float:
        """Flatter where it is wide."""
        return min(2.9, max(1.6, 0.55 * width))

    def left(self, height: float) -> float:
        """Ticks and label of y."""
        return room_beside(ticks_beside(self.y, height), self.panel.y_label, height)

    def right(self, height: float) -> float:
        """Half a tick's words."""
        return OVERHANG

    def above(self, width: float) -> float:
        """Words of the marks."""
        return room_of(self._flags(width))

    def below(self, width: float) -> float:
        """Ticks and label of x."""
        return room_below(ticks_below(self.x, width), self.panel.x_label, width)

    def draw(self, place: Place) -> None:
        """Draw curves, guides and marks."""
        place.axes.set(xlim=self.x.ends, ylim=self.y.ends)
        show_beside(place, ticks_beside(self.y, place.height), self.panel.y_label)
        show_below(place, ticks_below(self.x, place.width), self.panel.x_label)
        draw_guides(place, self.panel.guides, self.x, self.y)
        for number, (curve, style) in enumerate(zip(self.panel.curves, self._styles, strict=True)):
            gaps = _gaps(curve, self.panel.y_log)
            mark_gaps(place, self.x.at(curve.x), gaps, style.colour, number)
            self._draw_curve(place, curve, style, number)
        draw_flags(place, self._flags(place.width), self.y)
        if not any(len(curve.x) for curve in self.panel.curves):
            say_nothing(place, "no points")

    @cached_property
    def _styles(self) -> list[Style]:
        keys = [((one.role, one.style == "dashed"), one.label) for one in self.panel.curves]
        found = zip(self.panel.curves, ordinals(keys), strict=True)
        return [style_of(curve.role, place) for curve, place in found]

    def _flags(self, width: float) -> tuple[Flag, ...]:
        return flags_of(shown_marks(self.panel.marks, self.x, self.y), self.x, width)

    def _draw_curve(self, place: Place, curve: Curve, style: Style, number: int) -> None:
        kept = kept_of(curve, self.panel.y_log)
        x, y = self.x.at(curve.x)[kept], self.y.at(curve.y)[kept]
        if curve.low is not None and curve.high is not None:
            low, high = (_clipped(of, self.y)[kept] for of in (curve.low, curve.high))
            _draw_band(place, curve, style, (x, low, high))
        marked = _marked(curve, np.isfinite(x) & np.isfinite(y), number)
        look = _look(curve, style)
        place.axes.plot(x, y, marker=style.mark, markevery=marked, zorder=3, **look)

    def _notes(self, curve: Curve) -> list[str]:
        of, length = curve.label or "a curve", len(curve.x)
        x, y = self.x.at(curve.x), self.y.at(curve.y)
        placeless = int(np.isnan(x).sum())
        beyond = int((np.isfinite(x) & np.isfinite(y) & ~self._holds(curve)).sum())
        notes = []
        if (stride := stride_of(length)) > 1:
            notes.append(f"{of}: every {nth(stride)} of {length:,} points is drawn")
        if placeless:
            notes.append(f"{of}: {counted(placeless, 'point')} without a place on the x axis")
        if beyond:
            notes.append(f"{of}: {counted(beyond, 'point')} beyond the axes")
        return notes

    def _holds(self, curve: Curve) -> NDArray[np.bool_]:
        return self.x.holds(curve.x) & self.y.holds(curve.y)


def curves_drawings(panels: Sequence[Curves], share_x: bool, share_y: bool) -> list[CurvesDrawing]:
    """Panels with their scales: where shared, one for all axes of equal words."""
    return [
        CurvesDrawing(
            one,
            _x_scale([of for of in panels if of is one or (share_x and _same_x(of, one))]),
            _y_scale([of for of in panels if of is one or (share_y and _same_y(of, one))]),
        )
        for one in panels
    ]


def kept_of(curve: Curve, is_log: bool) -> NDArray[np.int64]:
    """Indices of the points that are drawn.

    All of them, or of many every k-th, the last, and both ends of every gap.
    """
    length, stride = len(curve.x), stride_of(len(curve.x))
    kept = np.arange(0, length, stride)
    if stride == 1:
        return kept
    ends = [end for gap in _gaps(curve, is_log) for end in (gap.first, gap.last)]
    return np.unique(np.array([*kept, length - 1, *ends], np.int64))


def stride_of(length: int) -> int:
    """Every how many points of a curve one is drawn."""
    return max(1, -(-length // MOST_POINTS))


def nth(number: int) -> str:
    """2nd, 3rd, 10th."""
    endings = {1: "st", 2: "nd", 3: "rd"}
    ending = "th" if 10 < number % 100 < 14 else endings.get(number % 10, "th")
    return f"{number:,}{ending}"


def _same_x(one: Curves, other: Curves) -> bool:
    return (one.x_label, one.x_log) == (other.x_label, other.x_log)


def _same_y(one: Curves, other: Curves) -> bool:
    return (one.y_label, one.y_log) == (other.y_label, other.y_log)


def _x_scale(panels: Sequence[Curves]) -> Scale:
    least = [at for one in panels for at in guides_on(one.guides, "x")]
    least += [mark[0] for one in panels for mark in one.marks]
    parts = [curve.x for one in panels for curve in one.curves]
    return scale_of(parts, panels[0].x_log, tuple(least), margin=0.03)


def _y_scale(panels: Sequence[Curves]) -> Scale:
    """Of what is given, and of the numbers of panels without a given range."""
    free = [one for one in panels if one.y_range is None]
    given = [end for one in panels if one.y_range is not None for end in one.y_range]
    least = [at for one in free for at in guides_on(one.guides, "y")]
    least += [mark[1] for one in free for mark in one.marks]
    parts = [of for one in free for curve in one.curves for of in _ys(curve)]
    margin = 0.06 if free else 0.0
    return scale_of(parts, panels[0].y_log, (*least, *given), margin)


def _ys(curve: Curve) -> list[Numbers]:
    return [of for of in (curve.y, curve.low, curve.high) if of is not None]


def _gaps(curve: Curve, is_log: bool) -> tuple[Gap, ...]:
    """Of the curve, and of its band."""
    found = (gap for of in _ys(curve) for gap in gaps_of(of, is_log))
    return tuple(sorted(set(found), key=lambda gap: (gap.first, gap.last, gap.is_high)))


def _why_not(curve: Curve, is_log: bool) -> list[str]:
    return [reason for of in _ys(curve) for reason in why_not(of, is_log)]


def _clipped(ends: Numbers, scale: Scale) -> Floats:
    """Coordinates of a band's ends; those that are infinite, or 0 on a logarithmic axis, are at
    the axis's end."""
    numbers = np.asarray(ends, np.float64)
    low, high = scale.ends
    at = np.where(numbers == np.inf, high, scale.at(numbers))
    return np.where(numbers <= (0 if scale.is_log else -np.inf), low, at)


def _draw_band(
    place: Place, curve: Curve, style: Style, band: tuple[Floats, Floats, Floats]
) -> None:
    x, low, high = band
    is_there = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    step = "post" if curve.style == "steps" else None
    look: dict[str, Any] = {"color": style.colour, "zorder": 1.8}
    if curve.style != "points":
        filled: dict[str, Any] = {"where": is_there, "step": step, "alpha": 0.2, "linewidth": 0}
        place.axes.fill_between(x, low, high, **filled, **look)
    single = is_there if curve.style == "points" else alone(is_there)
    place.axes.vlines(x[single], low[single], high[single], linewidth=1.2, **look)


def _marked(curve: Curve, is_there: NDArray[np.bool_], number: int) -> list[int]:
    """Which points have a mark: enough to tell the line by, and those no line leads to."""
    there = np.flatnonzero(is_there)
    if curve.style == "points" or len(there) <= ALL_MARKED:
        return [int(place) for place in there]
    stride = len(there) / (ALL_MARKED - 4)
    first = (number % 4) / 4 * stride  # marks of several curves beside each other
    spread = [int(there[int(first + k * stride)]) for k in range(ALL_MARKED - 4)]
    return sorted({*spread, *np.flatnonzero(alone(is_there)).tolist()})


def _look(curve: Curve, style: Style) -> dict[str, Any]:
    is_dashed, is_points = curve.style == "dashed", curve.style == "points"
    return {
        "color": style.colour,
        "linestyle": "" if is_points else DASHED if is_dashed else style.line,
        "drawstyle": "steps-post" if curve.style == "steps" else "default",
        "markerfacecolor": "white" if is_dashed else style.colour,
    }


def _entry(curve: Curve, style: Style) -> Entry:
    look = _look(curve, style)
    is_dashed = curve.style == "dashed"
    line = look["linestyle"] or None
    label = curve.label
    if curve.low is not None and curve.n is not None:
        label = f"{label} ({curve.band}: n = {curve.n})".strip()
    entry = Entry(label, style.colour, line=line, mark=style.mark, is_open=is_dashed)
    has_band = curve.low is not None and curve.style != "points"
    return band_of(entry, style.colour) if has_band else entry
