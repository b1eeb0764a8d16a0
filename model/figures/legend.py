"""A figure's legend: entries in rows beside each other, outside of every panel."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from matplotlib.figure import Figure as Paper
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.typing import LineStyleType

from model.figures.look import INK, PALE_INK
from model.figures.place import LINE, say
from model.figures.styles import Colour, paler
from model.figures.wrapping import width_of, wrap

# Inches.
HANDLE = 0.36
BESIDE = 0.07  # between a handle and its words
BETWEEN = 0.24  # entries


@dataclass(frozen=True)
class Entry:
    """A sample of a look and what it stands for."""

    label: str
    colour: Colour | str = INK
    line: LineStyleType | None = None
    mark: str = ""
    is_open: bool = False  # the mark
    face: Colour | str | None = None  # of a filled patch, or of a band
    hatch: str = ""
    is_upright: bool = False  # the line
    is_gap: bool = False  # stands for what could not be drawn

    @property
    def room(self) -> float:
        """Inches before its words: of the sample, if it has one."""
        has_sample = self.face is not None or self.line is not None or self.mark
        return HANDLE + BESIDE if has_sample else 0.0

    def draw(self, paper: Paper, left: float, middle: float) -> None:
        """Draw the sample, its left end and middle at these inches."""
        place = paper.dpi_scale_trans
        if self.face is not None:
            patch = Rectangle((left, middle - 0.05), HANDLE, 0.1, transform=place)
            patch.set(facecolor=self.face, edgecolor=self.colour, hatch=self.hatch, linewidth=0.6)
            paper.add_artist(patch)
        if self.line is None and not self.mark:
            return
        centre = left + HANDLE / 2
        sample = Line2D([left, centre, left + HANDLE], [middle] * 3, transform=place)
        if self.is_upright:
            sample.set_data([centre] * 3, [middle - 0.075, middle, middle + 0.075])
        sample.set(color=self.colour, linestyle="" if self.line is None else self.line)
        sample.set(marker=self.mark or "", markevery=[1], markersize=4.5)
        sample.set(markerfacecolor="white" if self.is_open else self.colour)
        paper.add_artist(sample)


CROSS = Entry("", PALE_INK, mark="x", is_gap=True)
OR = " or "


@dataclass(frozen=True)
class Placed:
    """An entry with its place from the legend's top left corner, inches."""

    entry: Entry
    lines: tuple[str, ...]
    right: float
    down: float


@dataclass(frozen=True)
class Legend:
    """Entries with their places."""

    placed: tuple[Placed, ...]
    height: float  # inches; 0 without entries

    def draw(self, paper: Paper, left: float, top: float) -> None:
        """Draw it below and to the right of this place."""
        for one in self.placed:
            middle = top - one.down - LINE / 2
            one.entry.draw(paper, left + one.right, middle)
            words = left + one.right + one.entry.room
            for number, line in enumerate(one.lines):
                say(paper, words, middle - number * LINE, line, va="center")


def arranged(entries: Sequence[Entry], width: float) -> Legend:
    """Entries from left to right, in as many rows as it takes."""
    placed: list[Placed] = []
    right = down = row = 0.0
    for entry in entries:
        lines = wrap(entry.label, width - entry.room) or ("",)
        taken = entry.room + max(map(width_of, lines))
        if right and right + taken > width:
            right, down, row = 0.0, down + row, 0.0
        placed.append(Placed(entry, lines, right, down))
        right += taken + BETWEEN
        row = max(row, len(lines) * LINE)
    return Legend(tuple(placed), down + row)


def gap_entries(reasons: Iterable[str], sample: Entry = CROSS) -> tuple[Entry, ...]:
    """What the marks of numbers that could not be drawn mean; none without a reason."""
    told = OR.join(dict.fromkeys(reasons))
    return (replace(sample, label=told),) if told else ()


def merged(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Distinct entries, then those of gaps, which are one for each sample."""
    reasons: dict[Entry, list[str]] = {}
    for gap in (one for one in entries if one.is_gap):
        reasons.setdefault(replace(gap, label=""), []).extend(gap.label.split(OR))
    rest = dict.fromkeys(one for one in entries if not one.is_gap)
    return (*rest, *(gap for of, told in reasons.items() for gap in gap_entries(told, of)))


def band_of(entry: Entry, colour: Colour) -> Entry:
    """The entry with a band behind its line."""
    return replace(entry, face=paler(colour, 0.75))
