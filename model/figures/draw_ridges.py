"""Histograms above each other: one quantity at several times."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.figures.charts import Ridges
from model.figures.draw_curves import OVERHANG
from model.figures.drawing import OfPanel
from model.figures.legend import Entry, gap_entries
from model.figures.look import GRID, PALE_INK
from model.figures.place import (
    Place,
    Ticks,
    names_beside,
    room_below,
    room_beside,
    say_nothing,
    show_below,
    show_beside,
    ticks_below,
)
from model.figures.scales import Floats, Scale, can_show, number_text, scale_of, why_not
from model.figures.styles import paler, style_of

# Inches.
ROW = 0.27
HEAD = 0.35  # above the last histogram's baseline
TALLEST, LOWEST = 6.5, 1.1
MOST_LABEL = 1.5

PEAK = 1.9  # rows that the highest density takes
_SHADE = "#D9D9D9"


@dataclass(frozen=True)
class RidgesDrawing(OfPanel[Ridges]):
    """One panel of histograms."""

    x: Scale
    peak: float  # the density that is drawn `PEAK` rows high

    @property
    def aside(self) -> str:
        """What heights mean."""
        return f"one row up is a density of {number_text(self.peak / PEAK)}" if self.peak else ""

    @property
    def sides(self) -> tuple[str, ...]:
        """Labels beside its axes."""
        return ()

    def entries(self, width: float) -> tuple[Entry, ...]:
        """What is shaded, and what crosses mean."""
        panel = self.panel
        reasons = [why for of in (*panel.edges, *panel.densities) for why in why_not(of)]
        is_told = bool(panel.shaded and panel.shaded_label)
        shaded = [Entry(panel.shaded_label, _SHADE, face=_SHADE)] if is_told else []
        return (*shaded, *gap_entries(reasons))

    def height(self, width: float) -> float:
        """By the number of histograms."""
        return min(TALLEST, max(LOWEST, HEAD + ROW * len(self.panel.labels)))

    def left(self, height: float) -> float:
        """Labels of the histograms."""
        return room_beside(self._labels(height), "", height)

    def right(self, height: float) -> float:
        """Half a tick's words."""
        return OVERHANG

    def below(self, width: float) -> float:
        """Ticks and label of x."""
        return room_below(ticks_below(self.x, width), self.panel.x_label, width)

    def draw(self, place: Place) -> None:
        """Draw the histograms, the lower ones in front."""
        place.axes.set(xlim=self.x.ends, ylim=(0, self._rows))
        place.axes.grid(False, axis="y")
        place.axes.spines["left"].set_visible(False)
        place.axes.tick_params("y", length=0)
        show_beside(place, self._labels(place.height), "")
        show_below(place, ticks_below(self.x, place.width), self.panel.x_label)
        for low, high in self.panel.shaded:
            place.axes.axvspan(
                max(low, self.x.low), min(high, self.x.high), color=_SHADE, zorder=0.5, linewidth=0
            )
        for number in range(len(self.panel.labels)):
            self._draw_one(place, number)
        if not self.panel.labels:
            say_nothing(place, "no histograms")

    @property
    def _rows(self) -> float:
        return max(len(self.panel.labels), 1) + PEAK - 0.4

    def _labels(self, height: float) -> Ticks:
        """Each at its baseline, which is half a row above its part of the height."""
        rows = len(self.panel.labels)
        return names_beside(self.panel.labels, height * rows / self._rows, MOST_LABEL)

    def _draw_one(self, place: Place, number: int) -> None:
        edges = np.asarray(self.panel.edges[number], np.float64)
        densities = np.asarray(self.panel.densities[number], np.float64)
        base, order = number + 0.5, 3 - number / 1000
        place.axes.axhline(base, color=GRID, linewidth=0.7, zorder=order - 0.0005)
        if not (can_show(edges).all() and can_show(densities).all()):
            cross: dict[str, Any] = {"clip_on": False, "markersize": 4.5, "color": PALE_INK}
            place.axes.plot([self.x.low], [base], "x", zorder=4, **cross)
            return
        x = np.repeat(edges, 2)
        y = base + np.concatenate([[0], np.repeat(densities, 2), [0]]) / (self.peak or 1) * PEAK
        style = style_of(self.panel.role)
        place.axes.fill_between(x, base, y, color=paler(style.colour, 0.6), zorder=order)
        place.axes.plot(x, y, color=style.colour, linewidth=0.9, zorder=order)


def ridges_drawings(panels: Sequence[Ridges], share_x: bool, share_y: bool) -> list[RidgesDrawing]:
    """Panels with their scales: where shared, one for all of equal words, and one height."""
    drawings = []
    for one in panels:
        alike = [of for of in panels if of is one or of.x_label == one.x_label]
        across = alike if share_x else [one]
        up = alike if share_y else [one]
        x = scale_of((edges for of in across for edges in of.edges), margin=0.02)
        drawings.append(RidgesDrawing(one, x, _peak([d for of in up for d in of.densities])))
    return drawings


def _peak(densities: Sequence[Sequence[float]]) -> float:
    parts = [np.asarray(of, np.float64) for of in densities]
    numbers: Floats = np.concatenate([np.zeros(1), *parts])
    return float(numbers[can_show(numbers)].max())
