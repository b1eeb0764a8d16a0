"""Words for single points: above the panel, at lines that lead to the points.

Each word starts at its line, or ends there, and no line crosses another's word. Where that
cannot be, letters stand for the words, and the legend has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from matplotlib.patches import FancyArrowPatch

from model.figures.look import INK
from model.figures.place import Place, say
from model.figures.scales import Scale
from model.figures.wrapping import TICK_POINTS, shown, width_of

# Inches.
ROW = 0.16
BESIDE = 0.04  # between a line and its word
APART = 0.1  # between words
MOST_ROWS = 4
MOST_FLAGS = 6  # with words or letters beside each other; more are too close together
WIDEST = 0.6  # of a word, as a share of the panel

Mark = tuple[float, float, str]


@dataclass(frozen=True)
class Flag:
    """A point with its word."""

    point: tuple[float, float]
    text: str
    at: float  # inches from the panel's left side
    left: float  # of the word
    right: float
    row: int = 0  # the lowest is 0


def shown_marks(marks: Sequence[Mark], x: Scale, y: Scale) -> tuple[Mark, ...]:
    """Those whose points the axes show."""
    return tuple(mark for mark in marks if x.holds(mark[0]) and y.holds(mark[1]))


def flags_of(marks: Sequence[Mark], x: Scale, width: float) -> tuple[Flag, ...]:
    """Flags in rows; their texts are the words, or letters where words have no room.

    Args:
        marks: those that are shown.
    """
    words = _arranged([_sides(mark, mark[2], x, width) for mark in marks])
    fits = all(flag.right - flag.left <= WIDEST * width for flag in words or ())
    if words is not None and fits:
        return words
    named = list(zip(marks, _alphabet(len(marks)), strict=True))
    letters = [_sides(mark, letter, x, width) for mark, letter in named]
    return _arranged(letters) or tuple(
        replace(sides[0], row=number) for number, sides in enumerate(letters)
    )


def lettered(flags: Sequence[Flag], marks: Sequence[Mark]) -> tuple[tuple[str, str], ...]:
    """Letters with the words that they stand for; none where flags have the words.

    Args:
        marks: what the flags were made of.
    """
    words = {shown(mark[2]) for mark in marks}
    if all(flag.text in words for flag in flags):
        return ()
    return tuple(zip(_alphabet(len(marks)), (mark[2] for mark in marks), strict=True))


def room_of(flags: Sequence[Flag]) -> float:
    """Inches above the panel."""
    return _rows(flags) * ROW + BESIDE if flags else 0.0


def draw_flags(place: Place, flags: Sequence[Flag], y: Scale) -> None:
    """Draw words, and an arrow from each to its point."""
    top = place.bottom + place.height
    low, high = y.ends
    for flag in flags:
        height = (float(y.at(flag.point[1])) - low) / (high - low) * place.height
        middle = top + BESIDE + (flag.row + 0.5) * ROW
        across = place.left + flag.at
        arrow = FancyArrowPatch(
            (across, middle + 0.07),
            (across, place.bottom + height),
            transform=place.paper.dpi_scale_trans,
            arrowstyle="-|>",
            mutation_scale=7,
            linewidth=0.7,
            color=INK,
            shrinkA=0,
            shrinkB=2,
        )
        place.paper.add_artist(arrow)
        start = place.left + flag.left
        say(place.paper, start, middle, flag.text, size=TICK_POINTS, va="center")


def _sides(mark: Mark, words: str, x: Scale, width: float) -> list[Flag]:
    """The flag with its word to the right of its line and to the left, where there is room."""
    text, at = shown(words), float(x.share(mark[0])) * width
    taken = width_of(text, TICK_POINTS)
    lefts = [at + BESIDE, at - BESIDE - taken]
    fit = [left for left in lefts if left >= 0 and left + taken <= width]
    return [Flag(mark[:2], text, at, left, left + taken) for left in fit or lefts[:1]]


def _arranged(flags: Sequence[Sequence[Flag]]) -> tuple[Flag, ...] | None:
    """One of the sides of each flag, in as few rows as can be; None where too many are needed."""
    if len(flags) > MOST_FLAGS:
        return None
    found = [
        rows
        for sides in product(*flags)
        for order in (sides, sides[::-1])
        if (rows := _in_rows(order)) is not None
    ]
    return min(found, key=_rows, default=None)


def _in_rows(flags: Sequence[Flag]) -> tuple[Flag, ...] | None:
    """Each, in this order, in the lowest row where it crosses nothing; None where there is none."""
    placed: list[Flag] = []
    for flag in flags:
        rows = (replace(flag, row=row) for row in range(MOST_ROWS))
        free = next((one for one in rows if not any(_meet(one, other) for other in placed)), None)
        if free is None:
            return None
        placed.append(free)
    return tuple(placed)


def _meet(one: Flag, other: Flag) -> bool:
    """Whether two words stand in each other's place, or one's line crosses the other's word."""
    upper, lower = (one, other) if one.row >= other.row else (other, one)
    beside = one.left < other.right + APART and other.left < one.right + APART
    crosses = lower.left - BESIDE < upper.at < lower.right + BESIDE
    if one.row == other.row:
        return beside or crosses or upper.left - BESIDE < lower.at < upper.right + BESIDE
    return crosses


def _rows(flags: Sequence[Flag]) -> int:
    return max((flag.row + 1 for flag in flags), default=0)


def _alphabet(length: int) -> list[str]:
    return [chr(ord("A") + k) if k < 26 else f"Z{k - 24}" for k in range(length)]
