"""Bars in groups, with their intervals and a dot for every seed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from model.figures.charts import Bars, BarSeries, Numbers
from model.figures.drawing import OfPanel
from model.figures.gaps import Gap, gaps_of, mark_gaps
from model.figures.guides import draw_guides, guide_entries, guides_on
from model.figures.legend import Entry, gap_entries
from model.figures.look import INK
from model.figures.place import (
    Place,
    names_below,
    room_below,
    room_beside,
    say_nothing,
    show_below,
    show_beside,
    ticks_beside,
)
from model.figures.scales import Floats, Scale, scale_of, why_not
from model.figures.styles import Style, ordinals, paler, style_of

BARS = 0.8  # of a group's width, all its bars together
DOTS = 0.5  # of a bar's width, the dots of its seeds beside each other
RIGHT = 0.1


@dataclass(frozen=True)
class BarsDrawing(OfPanel[Bars]):
    """One panel of bars."""

    y: Scale

    @property
    def sides(self) -> tuple[str, ...]:
        """Labels beside its axes."""
        return (self.panel.y_label,)

    def entries(self, width: float) -> tuple[Entry, ...]:
        """A patch for each series, then the interval, the seeds, guides and gaps."""
        panel = self.panel
        named = zip(panel.series, self._styles, strict=True)
        has_interval = any(one.low is not None for one in panel.series)
        has_seeds = any(len(seeds) for one in panel.series for seeds in one.seeds)
        reasons = [why for of in _numbers([panel]) for why in why_not(of, panel.y_log)]
        return (
            *(_entry(one.label, style) for one, style in named if one.label),
            *([Entry(panel.interval, INK, line="-", is_upright=True)] if has_interval else []),
            *([Entry("one seed", INK, mark="o", is_open=True)] if has_seeds else []),
            *guide_entries(panel.guides),
            *gap_entries(reasons),
        )

    def height(self, width: float) -> float:
        """Flatter where it is wide."""
        return min(2.6, max(1.6, 0.5 * width))

    def left(self, height: float) -> float:
        """Ticks and label of y."""
        return room_beside(ticks_beside(self.y, height), self.panel.y_label, height)

    def right(self, height: float) -> float:
        """A little."""
        return RIGHT

    def below(self, width: float) -> float:
        """Names of the groups."""
        return room_below(names_below(self.panel.groups, width), "", width)

    def draw(self, place: Place) -> None:
        """Draw bars, intervals, seeds and guides."""
        groups, series = len(self.panel.groups), self.panel.series
        place.axes.set(xlim=(0, max(groups, 1)), ylim=self.y.ends)
        place.axes.grid(False, axis="x")
        place.axes.tick_params("x", length=0)
        show_beside(place, ticks_beside(self.y, place.height), self.panel.y_label)
        show_below(place, names_below(self.panel.groups, place.width), "")
        draw_guides(place, self.panel.guides, None, self.y)
        width = BARS / max(len(series), 1)
        for number, (one, style) in enumerate(zip(series, self._styles, strict=True)):
            centres = (
                np.arange(groups, dtype=np.float64) + 0.5 + (number - (len(series) - 1) / 2) * width
            )
            self._draw_bars(place, one, style, centres, width)
            self._draw_interval(place, one, centres)
            self._draw_seeds(place, one, centres, width)
        if not groups or not series:
            say_nothing(place, "no bars")

    @cached_property
    def _styles(self) -> list[Style]:
        series = self.panel.series
        found = zip(series, ordinals([(one.role, one.label) for one in series]), strict=True)
        return [style_of(one.role, place) for one, place in found]

    def _draw_bars(
        self, place: Place, one: BarSeries, style: Style, centres: Floats, width: float
    ) -> None:
        tops = self.y.at(one.values)
        is_there = np.isfinite(tops)
        floor = self.y.ends[0] if self.y.is_log else 0.0
        place.axes.bar(
            centres[is_there],
            tops[is_there] - floor,
            0.92 * width,
            floor,
            facecolor=paler(style.colour, 0.35),
            edgecolor=style.colour,
            hatch=style.hatch,
            linewidth=0.8,
            zorder=2,
        )
        for of in (one.values, one.low, one.high):
            if of is not None:
                mark_gaps(place, centres, _each(of, self.y.is_log), INK, 0)

    def _draw_interval(self, place: Place, one: BarSeries, centres: Floats) -> None:
        if one.low is None or one.high is None:
            return
        low, high = self.y.at(one.low), self.y.at(one.high)
        is_there = np.isfinite(low) & np.isfinite(high)
        x, low, high = centres[is_there], low[is_there], high[is_there]
        place.axes.vlines(x, low, high, color=INK, linewidth=1.2, zorder=4)
        for ends in (low, high):
            place.axes.plot(x, ends, "_", color=INK, markersize=5, zorder=4)

    def _draw_seeds(self, place: Place, one: BarSeries, centres: Floats, width: float) -> None:
        if not one.seeds:
            return
        apart = [
            centre + DOTS * width * _spread(len(of))
            for centre, of in zip(centres, one.seeds, strict=True)
        ]
        x = np.concatenate([np.empty(0), *apart])
        values = [value for of in one.seeds for value in of]
        look: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 0.8}
        place.axes.plot(x, self.y.at(values), "o", color=INK, markersize=3.2, zorder=5, **look)
        mark_gaps(place, x, _each(values, self.y.is_log), INK, 1)


def bars_drawings(panels: Sequence[Bars], share_y: bool) -> list[BarsDrawing]:
    """Panels with their scales: where shared, one for all axes of equal words."""
    return [
        BarsDrawing(
            one, _y_scale([of for of in panels if of is one or (share_y and _same(of, one))])
        )
        for one in panels
    ]


def _spread(count: int) -> Floats:
    """Places beside each other, from -0.5 to 0.5."""
    return np.linspace(-0.5, 0.5, count) if count > 1 else np.zeros(count)


def _same(one: Bars, other: Bars) -> bool:
    return (one.y_label, one.y_log) == (other.y_label, other.y_log)


def _y_scale(panels: Sequence[Bars]) -> Scale:
    """With 0, from which bars start, unless it is logarithmic."""
    guides = [at for one in panels for at in guides_on(one.guides, "y")]
    zero = [] if panels[0].y_log else [0.0]
    found = scale_of(_numbers(panels), panels[0].y_log, (*guides, *zero), margin=0.08)
    if found.is_log:
        return found
    has_negative = any(bool((np.asarray(of) < 0).any()) for of in _numbers(panels))
    return found if has_negative or min(guides, default=0) < 0 else Scale(0.0, found.high)


def _numbers(panels: Iterable[Bars]) -> list[Numbers]:
    return [
        of
        for panel in panels
        for one in panel.series
        for of in (one.values, one.low, one.high, *one.seeds)
        if of is not None
    ]


def _each(values: Numbers, is_log: bool) -> tuple[Gap, ...]:
    """Gaps of bars, one by one: neighbours have nothing to do with each other."""
    return tuple(gap for of in gaps_of(values, is_log) for gap in of.split())


def _entry(label: str, style: Style) -> Entry:
    return Entry(label, style.colour, face=paler(style.colour, 0.35), hatch=style.hatch)
