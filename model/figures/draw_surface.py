"""Contours of a loss over a plane, with trajectories."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from model.figures.charts import Surface
from model.figures.colours import GAP, SEQUENTIAL, bar_room, bar_ticks, draw_bar
from model.figures.drawing import OfPanel
from model.figures.legend import Entry, gap_entries
from model.figures.look import PALE_INK
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
from model.figures.scales import Floats, Scale, Tick, can_show, scale_of, why_not
from model.figures.styles import Style, ordinals, style_of
from model.figures.text import counted

LEVELS = 14
_LEVELS = np.linspace(0, 1, LEVELS + 1)
TALLEST = 3.6  # inches
MARKED = 7  # points of a path that have a mark
HATCHED = Entry("", PALE_INK, face=GAP, hatch="xxx", is_gap=True)


@dataclass(frozen=True)
class SurfaceDrawing(OfPanel[Surface]):
    """One surface."""

    x: Scale
    y: Scale
    colours: Scale

    @property
    def aside(self) -> str:
        """Where the statistics of its norm layers come from."""
        return f"statistics {self.panel.statistics}" if self.panel.statistics else ""

    @property
    def sides(self) -> tuple[str, ...]:
        """Labels beside its axes."""
        return (self.panel.y_label, self.panel.colour_label)

    def entries(self, width: float) -> tuple[Entry, ...]:
        """A line for each path, where paths end, and what is not finite."""
        panel = self.panel
        named = zip(panel.paths, self._styles, strict=True)
        reasons = [why for row in panel.z for why in why_not(row, panel.log)]
        end = Entry("end of a path", PALE_INK, mark="*")
        return (
            *(Entry(one.label, style.colour, style.line, style.mark) for one, style in named),
            *([end] if panel.paths else []),
            *gap_entries(reasons, HATCHED),
        )

    def notes(self, width: float) -> tuple[str, ...]:
        """Which paths leave the plane."""
        found = []
        for path in self.panel.paths:
            beyond = len(path.x) - int((self.x.holds(path.x) & self.y.holds(path.y)).sum())
            if beyond:
                found.append(f"{path.label}: {counted(beyond, 'point')} beyond the plane")
        return tuple(found)

    def height(self, width: float) -> float:
        """Nearly a square."""
        return min(TALLEST, max(1.6, 0.72 * width))

    def left(self, height: float) -> float:
        """Ticks and label of y."""
        return room_beside(ticks_beside(self.y, height), self.panel.y_label, height)

    def right(self, height: float) -> float:
        """The colour bar."""
        return bar_room(self._bar(height), self.panel.colour_label, height)

    def below(self, width: float) -> float:
        """Ticks and label of x."""
        return room_below(ticks_below(self.x, width), self.panel.x_label, width)

    def draw(self, place: Place) -> None:
        """Draw contours, paths and the colour bar."""
        place.axes.set(xlim=self.x.ends, ylim=self.y.ends)
        place.axes.grid(False)
        show_beside(place, ticks_beside(self.y, place.height), self.panel.y_label)
        show_below(place, ticks_below(self.x, place.width), self.panel.x_label)
        draw_bar(place, SEQUENTIAL, self._bar(place.height), self.panel.colour_label)
        self._draw_contours(place)
        for path, style in zip(self.panel.paths, self._styles, strict=True):
            _draw_path(place, self.x.at(path.x), self.y.at(path.y), style)

    @cached_property
    def _styles(self) -> list[Style]:
        paths = self.panel.paths
        found = zip(paths, ordinals([(one.role, one.label) for one in paths]), strict=True)
        return [style_of(path.role, place) for path, place in found]

    def _bar(self, height: float) -> tuple[Tick, ...]:
        return bar_ticks(self.colours, height)

    def _draw_contours(self, place: Place) -> None:
        x, y = np.asarray(self.panel.x, np.float64), np.asarray(self.panel.y, np.float64)
        if min(len(x), len(y)) < 2 or not (can_show(x).all() and can_show(y).all()):
            say_nothing(place, "no plane: fewer than two points on a side")
            return
        share = np.ma.masked_invalid(self.colours.share(np.asarray(self.panel.z, np.float64)))
        if share.mask.any():
            place.axes.patch.set(facecolor=GAP, edgecolor="white", hatch="xxx")
        if share.mask.all():
            say_nothing(place, "no finite number")
            return
        place.axes.contourf(x, y, share, _LEVELS, cmap=SEQUENTIAL, vmin=0, vmax=1)
        least, most = float(share.min()), float(share.max())
        between = [level for level in _LEVELS if least < level < most]
        if between:
            place.axes.contour(x, y, share, between, colors="white", linewidths=0.4)


def surface_drawings(
    panels: Sequence[Surface], share_x: bool, share_y: bool
) -> list[SurfaceDrawing]:
    """Surfaces with their scales: where shared, one for all axes or colours of equal words."""

    def of(one: Surface, share: bool, words: str) -> list[Surface]:
        same = (other for other in panels if getattr(other, words) == getattr(one, words))
        return list(same) if share else [one]

    return [
        SurfaceDrawing(
            one,
            scale_of((of_x.x for of_x in of(one, share_x, "x_label")), margin=0),
            scale_of((of_y.y for of_y in of(one, share_y, "y_label")), margin=0),
            scale_of(
                (row for of_z in of(one, share_y, "colour_label") for row in of_z.z),
                one.log,
                margin=0,
            ),
        )
        for one in panels
    ]


def _draw_path(place: Place, x: Floats, y: Floats, style: Style) -> None:
    there = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if not len(there):
        return
    place.axes.plot(x, y, color="white", linewidth=3, zorder=4)
    look: dict[str, Any] = {
        "color": style.colour,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
    }
    marked = sorted({int(there[round(at)]) for at in np.linspace(0, len(there) - 1, MARKED)})
    place.axes.plot(
        x,
        y,
        linestyle=style.line,
        marker=style.mark,
        markevery=marked[:-1],
        markersize=4.5,
        zorder=4,
        **look,
    )
    end = there[-1]
    place.axes.plot(x[end], y[end], "*", markersize=9, zorder=5, **look)
