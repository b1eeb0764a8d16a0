"""A panel's axes on the paper, in inches: its ticks, the words at its sides and their room."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Paper
from matplotlib.text import Text

from model.figures.look import PALE_INK
from model.figures.scales import Scale, Tick, ticks_with_room
from model.figures.wrapping import TICK_POINTS, has_room_for, shorten, width_of, wrap

# Inches.
LINE = 0.18  # of text
TICK_LINE = 0.15
TICK = 0.11  # a tick and the room to its words
ASIDE = 0.08  # between the words at ticks and the axis's label
APART = 0.12  # between neighbouring words
BETWEEN_LINES = 0.1  # between words above each other
MOST_TURNED = 1.3  # of words that stand upright

MOST_LINES = 4  # of a label beside axes


@dataclass(frozen=True)
class Place:
    """Axes on the paper, with their left lower corner and size in inches."""

    paper: Paper
    axes: Axes
    left: float
    bottom: float
    width: float
    height: float


@dataclass(frozen=True)
class Ticks:
    """Ticks of an axis, and the room that their words take off it."""

    ticks: tuple[Tick, ...]
    room: float  # inches
    is_turned: bool = False

    def of_parts(self) -> "Ticks":
        """Those at whole numbers, each in the middle of the part that it counts."""
        whole = (tick for tick in self.ticks if tick.at == int(tick.at) and tick.at >= 1)
        return replace(self, ticks=tuple(Tick(tick.at - 0.5, _whole(tick.at)) for tick in whole))


def say(paper: Paper, x: float, y: float, text: str, **look: Any) -> Text:
    """One line of text at a place in inches."""
    return paper.text(x, y, text, transform=paper.dpi_scale_trans, **look)


def ticks_beside(scale: Scale, height: float) -> Ticks:
    """Ticks of a vertical axis."""
    ticks = ticks_with_room(scale, height, BETWEEN_LINES, lambda _: TICK_LINE)
    return Ticks(ticks, TICK + _widest(ticks))


def ticks_below(scale: Scale, width: float) -> Ticks:
    """Ticks of a horizontal axis, as many as have room beside each other."""
    ticks = ticks_with_room(scale, width, APART, lambda text: width_of(text, TICK_POINTS))
    return Ticks(ticks, TICK + TICK_LINE)


def names_below(names: Sequence[str], width: float) -> Ticks:
    """Names of equal parts of a horizontal axis, at 0.5, 1.5, and so on.

    They are wrapped where that is enough, and else stand upright; where there is no room for
    all of them, evenly chosen ones are named.
    """
    slot = width / max(len(names), 1)
    wrapped = [wrap(name, slot - APART / 2, TICK_POINTS) for name in names]
    fit = all(has_room_for(name, slot - APART / 2, TICK_POINTS) for name in names)
    lines = max(map(len, wrapped), default=0)
    if fit and lines <= 4:
        return Ticks(_named(["\n".join(of) for of in wrapped]), TICK + lines * TICK_LINE)
    if all(map(_is_number, names)):
        widest = max(width_of(name, TICK_POINTS) for name in names)
        return Ticks(_named(names, _stride(widest + APART, slot)), TICK + TICK_LINE)
    short = [shorten(name, MOST_TURNED, TICK_POINTS) for name in names]
    ticks = _named(short, _stride(TICK_LINE, slot))
    return Ticks(ticks, TICK + _widest(ticks), is_turned=True)


def numbers_below(count: int, width: float) -> Ticks:
    """Round numbers of equal parts of a horizontal axis, counted from 1."""
    return ticks_below(_counting(count), width).of_parts()


def numbers_beside(count: int, height: float) -> Ticks:
    """Round numbers of equal parts of a vertical axis, counted from 1."""
    return ticks_beside(_counting(count), height).of_parts()


def names_beside(names: Sequence[str], height: float, most: float) -> Ticks:
    """Names of equal parts of a vertical axis, of at most so many inches each."""
    slot = height / max(len(names), 1)
    short = [shorten(name, most, TICK_POINTS) for name in names]
    ticks = _named(short, _stride(TICK_LINE, slot))
    return Ticks(ticks, TICK + _widest(ticks))


def side_lines(label: str, height: float) -> tuple[str, ...]:
    """A label beside axes of this height, at most so many lines of it."""
    lines = wrap(label, height)
    if len(lines) <= MOST_LINES:
        return lines
    *kept, last = wrap(label, height - width_of("…"))[:MOST_LINES]
    return (*kept, f"{last}…")


def room_beside(ticks: Ticks, label: str, height: float) -> float:
    """Inches that a vertical axis takes with its ticks and its label."""
    lines = len(side_lines(label, height))
    return ticks.room + (ASIDE + lines * LINE if lines else 0)


def room_below(ticks: Ticks, label: str, width: float) -> float:
    """Inches that a horizontal axis takes with its ticks and its label."""
    lines = len(wrap(label, width))
    return ticks.room + (ASIDE / 2 + lines * LINE if lines else 0)


def show_beside(place: Place, ticks: Ticks, label: str) -> None:
    """Write a vertical axis's ticks and label."""
    place.axes.set_yticks([tick.at for tick in ticks.ticks], [tick.text for tick in ticks.ticks])
    lines = side_lines(label, place.height)
    right = place.left - ticks.room - ASIDE - (len(lines) - 0.5) * LINE
    middle = place.bottom + place.height / 2
    for number, line in enumerate(lines):
        at = right + number * LINE
        say(place.paper, at, middle, line, rotation=90, ha="center", va="center")


def show_below(place: Place, ticks: Ticks, label: str) -> None:
    """Write a horizontal axis's ticks and label."""
    place.axes.set_xticks([tick.at for tick in ticks.ticks], [tick.text for tick in ticks.ticks])
    if ticks.is_turned:
        place.axes.tick_params("x", labelrotation=90)
    top = place.bottom - ticks.room - ASIDE / 2
    centre = place.left + place.width / 2
    for number, line in enumerate(wrap(label, place.width)):
        say(place.paper, centre, top - (number + 0.5) * LINE, line, ha="center", va="center")


def say_nothing(place: Place, why: str) -> None:
    """Say in the middle of a panel why it shows nothing."""
    axes = place.axes
    axes.grid(False)
    centre = place.left + place.width / 2
    middle = place.bottom + place.height / 2
    lines = wrap(why, 0.9 * place.width)
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    for number, line in enumerate(lines):
        down = (number - (len(lines) - 1) / 2) * LINE
        look = {"color": PALE_INK, "ha": "center", "va": "center", "bbox": behind}
        say(place.paper, centre, middle - down, line, **look)


def _counting(count: int) -> Scale:
    return Scale(1.0, float(count)) if count > 1 else Scale(0.5, 1.5)


def _whole(at: float) -> str:
    return f"{int(at):,}"


def _named(names: Sequence[str], stride: int = 1) -> tuple[Tick, ...]:
    return tuple(Tick(k + 0.5, names[k]) for k in range(0, len(names), stride))


def _stride(needed: float, slot: float) -> int:
    return max(1, -int(-needed // slot)) if slot else 1


def _widest(ticks: Sequence[Tick]) -> float:
    return max((width_of(tick.text, TICK_POINTS) for tick in ticks), default=0.0)


def _is_number(name: str) -> bool:
    try:
        float(name.replace(",", ""))
    except ValueError:
        return False
    return True
