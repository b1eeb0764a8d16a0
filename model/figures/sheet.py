"""A whole figure on its paper: head, legend, panels in rows, notes. All lengths are inches.

Sizes come from measured text, from the outside in: columns, then heights, then what stands at
the sides of each panel, and the width of its axes is what is left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from matplotlib.figure import Figure as Paper

from model.figures.charts import Bars, Curves, Figure, Map, Panel, Ridges, Surface
from model.figures.draw_bars import bars_drawings
from model.figures.draw_curves import curves_drawings
from model.figures.draw_map import map_drawings
from model.figures.draw_ridges import ridges_drawings
from model.figures.draw_surface import surface_drawings
from model.figures.drawing import Drawing
from model.figures.legend import Entry, Legend, arranged, merged
from model.figures.look import PALE_INK, TEXT_POINTS, TITLE_POINTS
from model.figures.place import LINE, TICK_LINE, Place, say, side_lines
from model.figures.wrapping import TICK_POINTS, wrap

WIDTH = 9.6
MARGIN = 0.3
BETWEEN_COLUMNS = 0.15
BETWEEN_ROWS = 0.3
TITLE_LINE = 0.24
AFTER = 0.12  # a part of the head
HEADING = 0.07  # between a panel's words and its axes
LEAST_WIDTH = 1.1  # of axes; with less there are fewer columns

MOST_COLUMNS = 4

P = TypeVar("P", Curves, Ridges, Bars, Map, Surface)


@dataclass(frozen=True)
class Cell:
    """One panel with the sizes of its parts."""

    drawing: Drawing
    column: float  # where its column starts
    left: float
    width: float  # of the axes
    height: float
    heading: tuple[str, ...]
    aside: tuple[str, ...]
    legend: Legend

    @property
    def head(self) -> float:
        """Words above the axes."""
        words = (len(self.heading) + len(self.aside)) * LINE
        return words + self.drawing.above(self.width) + (HEADING if words else 0)

    @property
    def foot(self) -> float:
        """Words below the axes."""
        legend = self.legend.height
        return self.drawing.below(self.width) + (legend + AFTER if legend else 0)


def fill(paper: Paper, figure: Figure, with_words: bool = True) -> None:
    """Draw a figure on an empty paper, and give the paper its size.

    Args:
        with_words: whether title, evidence and the figure's own notes are on it; where not,
            only what the drawing itself has left out is told.
    """
    if not with_words:
        figure = replace(figure, title="", evidence="", notes=())
    drawings = drawings_of(figure)
    columns, cells = _in_columns(drawings, figure.columns)
    shared = _shared(cells)
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    rows = [[_with_legend(cell, shared is None) for cell in row] for row in rows]
    head = _Head(figure, arranged(shared or (), WIDTH - 2 * MARGIN))
    notes = _notes(figure, cells)
    foot = len(notes) * TICK_LINE + (AFTER if notes else 0) + MARGIN / 2
    body = sum(map(_row_height, rows)) + BETWEEN_ROWS * (len(rows) - 1)
    height = head.height + body + AFTER + foot
    paper.set_size_inches(WIDTH, height)
    head.draw(paper, height)
    top = height - head.height
    for row in rows:
        _draw_row(paper, row, top)
        top -= _row_height(row) + BETWEEN_ROWS
    for number, line in enumerate(notes):
        at = foot - AFTER - (number + 0.5) * TICK_LINE
        say(paper, MARGIN, at, line, size=TICK_POINTS, color=PALE_INK, va="center")


def drawings_of(figure: Figure) -> list[Drawing]:
    """A drawing for each panel, in their order."""
    share_x, share_y = figure.share_x, figure.share_y
    drawn: dict[int, Drawing] = {}

    def add(of: Sequence[Panel], drawings: Iterable[Drawing]) -> None:
        drawn.update({id(panel): drawing for panel, drawing in zip(of, drawings, strict=True)})

    curves, ridges = _of(Curves, figure), _of(Ridges, figure)
    bars, maps, surfaces = _of(Bars, figure), _of(Map, figure), _of(Surface, figure)
    add(curves, curves_drawings(curves, share_x, share_y))
    add(ridges, ridges_drawings(ridges, share_x, share_y))
    add(bars, bars_drawings(bars, share_y))
    add(maps, map_drawings(maps, share_y))
    add(surfaces, surface_drawings(surfaces, share_x, share_y))
    return [drawn[id(panel)] for panel in figure.panels]


@dataclass(frozen=True)
class _Head:
    """Title, the sentence that the figure is evidence for, and the legend of all panels."""

    figure: Figure
    legend: Legend

    @property
    def height(self) -> float:
        words = len(self._title) * TITLE_LINE + len(self._evidence) * LINE
        legend = self.legend.height + AFTER if self.legend.height else 0
        return (0.2 + words + AFTER if words else AFTER) + legend

    def draw(self, paper: Paper, height: float) -> None:
        top = height - (0.2 if self._title or self._evidence else 0)
        for line in self._title:
            look = {"size": TITLE_POINTS, "weight": "bold", "va": "center"}
            say(paper, MARGIN, top - TITLE_LINE / 2, line, **look)
            top -= TITLE_LINE
        for line in self._evidence:
            say(paper, MARGIN, top - LINE / 2, line, va="center")
            top -= LINE
        self.legend.draw(paper, MARGIN, top - AFTER)

    @property
    def _title(self) -> tuple[str, ...]:
        return wrap(self.figure.title, WIDTH - 2 * MARGIN, TITLE_POINTS, is_bold=True)

    @property
    def _evidence(self) -> tuple[str, ...]:
        return wrap(self.figure.evidence, WIDTH - 2 * MARGIN)


def _of(kind: type[P], figure: Figure) -> list[P]:
    return [panel for panel in figure.panels if isinstance(panel, kind)]


def _in_columns(drawings: list[Drawing], most: int) -> tuple[int, list[Cell]]:
    """As many columns as are asked for and leave every panel room."""
    columns = min(most, len(drawings), MOST_COLUMNS)
    cells = _cells(drawings, columns)
    while columns > 1 and min(cell.width for cell in cells) < LEAST_WIDTH:
        columns -= 1
        cells = _cells(drawings, columns)
    return columns, cells


def _cells(drawings: list[Drawing], columns: int) -> list[Cell]:
    column = (WIDTH - 2 * MARGIN - (columns - 1) * BETWEEN_COLUMNS) / columns
    heights = [drawing.height(column) for drawing in drawings]
    sides = [
        (drawing.left(height), drawing.right(height))
        for drawing, height in zip(drawings, heights, strict=True)
    ]
    cells = []
    for number, drawing in enumerate(drawings):
        above_each_other = sides[number % columns :: columns]
        left, right = (max(side) for side in zip(*above_each_other, strict=True))
        cells.append(
            Cell(
                drawing,
                MARGIN + (number % columns) * (column + BETWEEN_COLUMNS),
                left,
                column - left - right,
                heights[number],
                wrap(drawing.title, column, TEXT_POINTS, is_bold=True),
                wrap(drawing.aside, column),
                arranged((), column),
            )
        )
    return cells


def _shared(cells: list[Cell]) -> tuple[Entry, ...] | None:
    """The legend of all panels, where those that have one have the same; else None."""
    each = [merged(cell.drawing.entries(cell.width)) for cell in cells]
    some = [entries for entries in each if entries]
    if not some:
        return ()
    crosses = merged([entry for entries in some for entry in entries])
    same = all(set(_but_gaps(entries)) == set(_but_gaps(some[0])) for entries in some)
    return crosses if same else None


def _but_gaps(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    return tuple(entry for entry in entries if not entry.is_gap)


def _with_legend(cell: Cell, has_its_own: bool) -> Cell:
    if not has_its_own:
        return cell
    entries = merged(cell.drawing.entries(cell.width))
    legend = arranged(entries, cell.left + cell.width)
    return replace(cell, legend=legend)


def _row_height(row: list[Cell]) -> float:
    return max(cell.head for cell in row) + max(cell.height + cell.foot for cell in row)


def _draw_row(paper: Paper, row: list[Cell], top: float) -> None:
    head = max(cell.head for cell in row)
    for cell in row:
        _draw_heading(paper, cell, top)
        _draw_cell(paper, cell, top - head)


def _draw_heading(paper: Paper, cell: Cell, top: float) -> None:
    middle = top - LINE / 2
    for number, line in enumerate((*cell.heading, *cell.aside)):
        is_aside = number >= len(cell.heading)
        look = {"color": PALE_INK} if is_aside else {"weight": "bold"}
        say(paper, cell.column, middle - number * LINE, line, va="center", **look)


def _draw_cell(paper: Paper, cell: Cell, top: float) -> None:
    """Draw a panel whose axes end at this height."""
    width, height = paper.get_size_inches()
    left, bottom = cell.column + cell.left, top - cell.height
    axes = paper.add_axes((left / width, bottom / height, cell.width / width, cell.height / height))
    cell.drawing.draw(Place(paper, axes, left, bottom, cell.width, cell.height))
    below = bottom - cell.drawing.below(cell.width) - AFTER
    cell.legend.draw(paper, cell.column, below)


def _notes(figure: Figure, cells: list[Cell]) -> list[str]:
    told = [*figure.notes]
    for cell in cells:
        told += cell.drawing.notes(cell.width)
        told += (of for of in cell.drawing.sides if _is_cut(of, cell.height))
    lines = [wrap(note, WIDTH - 2 * MARGIN, TICK_POINTS) for note in dict.fromkeys(told)]
    return [line for of in lines for line in of]


def _is_cut(label: str, height: float) -> bool:
    return side_lines(label, height) != wrap(label, height)
