"""Rectangles of coloured cells, with a bar that says what the colours mean."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG

from model.figures.charts import Map
from model.figures.colours import (
    bar_room,
    bar_ticks,
    colour_scale,
    colours_of,
    draw_bar,
    ink_on,
    rgb,
)
from model.figures.drawing import OfPanel
from model.figures.legend import Entry, gap_entries
from model.figures.look import INK
from model.figures.place import (
    TICK_LINE,
    Place,
    Ticks,
    names_below,
    names_beside,
    numbers_below,
    numbers_beside,
    room_below,
    room_beside,
    say_nothing,
    show_below,
    show_beside,
    ticks_below,
    ticks_beside,
)
from model.figures.scales import Floats, Scale, Tick, can_show, why_not
from model.figures.text import counted
from model.figures.wrapping import TICK_POINTS, shown, width_of

# Inches.
CELL = 0.3  # of few rows, so that texts have room
TALLEST, LOWEST = 3.2, 0.6
TALLEST_PLANE = 5.0
MOST_LABEL = 1.6
SPARE = 1.05  # of a word's length, so that it is not broken
MARGIN = 0.06  # of a text in its cell, both sides together

MOST_DRAWN = 2500  # cells that are drawn one by one; more of them are an image
MOST_CROSSED = 400  # cells without a number that have a cross


@dataclass(frozen=True)
class MapDrawing(OfPanel[Map]):
    """One map."""

    colours: Scale

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.panel.values), len(self.panel.values[0]) if self.panel.values else 0

    @property
    def sides(self) -> tuple[str, ...]:
        """Labels beside its axes."""
        return (self.panel.y_label, self.panel.colour_label)

    def entries(self, width: float) -> tuple[Entry, ...]:
        """What cells with a cross are."""
        reasons = [why for row in self.panel.values for why in why_not(row, self.panel.log)]
        return gap_entries(reasons)

    def notes(self, width: float) -> tuple[str, ...]:
        """How many cells are beyond the colours, and whether their texts have no room."""
        values = np.asarray(self.panel.values, np.float64).ravel()
        beyond = int((can_show(values, self.panel.log) & ~self.colours.holds(values)).sum())
        found = {
            f"{counted(beyond, 'cell')} beyond the colours, shown as their ends": beyond > 0,
            "the cells are too small for their texts": bool(self.panel.texts)
            and not self._has_texts(width, self.height(width)),
        }
        return tuple(f"{self.title}: {note}" for note, holds in found.items() if holds)

    def height(self, width: float) -> float:
        """By the number of rows, and with room for the longest word of its labels."""
        if self.panel.plane:
            return min(TALLEST_PLANE, self._cell_width(width) * self._shape[0])
        words = (word for side in self.sides for word in shown(side).split())
        return min(
            TALLEST,
            max(LOWEST, CELL * self._shape[0], SPARE * max(map(width_of, words), default=0)),
        )

    def left(self, height: float) -> float:
        """Names of rows and the label of y."""
        return room_beside(self._rows(height), self.panel.y_label, height)

    def right(self, height: float) -> float:
        """The colour bar."""
        return bar_room(self._bar(height), self.panel.colour_label, height)

    def below(self, width: float) -> float:
        """Names of columns and the label of x."""
        return room_below(self._columns(width), self.panel.x_label, width)

    def draw(self, place: Place) -> None:
        """Draw cells, their texts and the colour bar."""
        rows, columns = self._shape
        place.axes.set(xlim=(0, max(columns, 1)), ylim=(max(rows, 1), 0))
        place.axes.grid(False)
        show_beside(place, self._rows(place.height), self.panel.y_label)
        show_below(place, self._columns(place.width), self.panel.x_label)
        if not rows or not columns:
            say_nothing(place, "no cells")
            return
        cells = rgb(colours_of(self.panel), self.colours.share(self.panel.values))
        self._draw_cells(place, cells)
        self._write_cells(place, cells)
        bar = self._bar(place.height)
        draw_bar(place, colours_of(self.panel), bar, self.panel.colour_label)

    def _rows(self, height: float) -> Ticks:
        if self.panel.plane:
            *_, low, high = self.panel.plane
            ticks = ticks_beside(Scale(low, high), height)
            return _placed(ticks, high, low, self._shape[0])
        if not self.panel.y_ticks:
            return numbers_beside(self._shape[0], height)
        return names_beside(self.panel.y_ticks, height, MOST_LABEL)

    def _columns(self, width: float) -> Ticks:
        if self.panel.plane:
            low, high, *_ = self.panel.plane
            return _placed(ticks_below(Scale(low, high), width), low, high, self._shape[1])
        if not self.panel.x_ticks:
            return numbers_below(self._shape[1], width)
        return names_below(self.panel.x_ticks, width)

    def _bar(self, height: float) -> tuple[Tick, ...]:
        return bar_ticks(self.colours, height, self.panel.classes)

    def _cell_width(self, width: float) -> float:
        """Inches, in a column of this width."""
        room = width - self.left(TALLEST) - self.right(TALLEST)
        return max(LOWEST, room) / max(1, self._shape[1])

    def _draw_cells(self, place: Place, cells: Floats) -> None:
        rows, columns = self._shape
        if rows * columns <= MOST_DRAWN:
            edges = np.arange(columns + 1), np.arange(rows + 1)
            place.axes.pcolormesh(*edges, cells, edgecolors="white", linewidth=0.4)
            return
        # An SVG keeps every cell as one pixel; pixels of a PNG are means where cells are smaller.
        is_vector = isinstance(place.paper.canvas, FigureCanvasSVG)
        place.axes.imshow(
            cells,
            extent=(0, columns, rows, 0),
            aspect="auto",
            interpolation="none" if is_vector else "auto",
        )

    def _write_cells(self, place: Place, cells: Floats) -> None:
        """Texts where all have room; crosses in cells without a number and without a text."""
        if self._has_texts(place.width, place.height):
            for (row, column), text in np.ndenumerate(np.array(self.panel.texts, object)):
                _write(place, row, column, shown(text), ink_on(cells[row, column]))
            return
        hidden = np.argwhere(~can_show(self.panel.values, self.panel.log))[:MOST_CROSSED]
        place.axes.plot(
            hidden[:, 1] + 0.5, hidden[:, 0] + 0.5, "x", color=INK, markersize=3.5, zorder=4
        )

    def _has_texts(self, width: float, height: float) -> bool:
        """Whether there are texts, and all of them fit into their cells."""
        rows, columns = self._shape
        if not self.panel.texts or not rows or not columns or height / rows < TICK_LINE:
            return False
        room = width / columns - MARGIN
        return all(
            width_of(shown(text), TICK_POINTS) <= room for row in self.panel.texts for text in row
        )


def map_drawings(panels: Sequence[Map], share_y: bool) -> list[MapDrawing]:
    """Maps with their colours: where shared, one scale for all of one kind and equal words."""
    drawings = []
    for one in panels:
        alike = [of for of in panels if of is one or (share_y and _same(of, one))]
        drawings.append(MapDrawing(one, colour_scale(alike)))
    return drawings


def _placed(ticks: Ticks, first: float, last: float, cells: int) -> Ticks:
    """Ticks of numbers from `first` to `last`, placed along so many cells."""
    share = cells / (last - first)
    return replace(
        ticks, ticks=tuple(replace(one, at=(one.at - first) * share) for one in ticks.ticks)
    )


def _same(one: Map, other: Map) -> bool:
    ours, theirs = ((of.colour_label, of.log, of.scale, of.classes) for of in (one, other))
    return ours == theirs


def _write(place: Place, row: int, column: int, text: str, colour: str) -> None:
    look: dict[str, Any] = {"color": colour, "size": TICK_POINTS, "ha": "center", "va": "center"}
    place.axes.text(column + 0.5, row + 0.5, text, **look)
