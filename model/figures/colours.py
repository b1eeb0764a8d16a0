"""Colours of cells: told apart by the colour-blind, and where one end is more, by lightness."""

from math import ceil

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap

from model.figures.charts import Map
from model.figures.look import BLACK, BLUE, VERMILLION
from model.figures.place import ASIDE, LINE, TICK, TICK_LINE, Place, say, side_lines, ticks_beside
from model.figures.scales import Floats, Scale, Tick, scale_of
from model.figures.wrapping import TICK_POINTS, shown, width_of

GAP = "#A8A8A8"  # of cells without a number
_PALE, _DARK = "#F2F2F2", "#20466B"

# Inches.
BEFORE_BAR = 0.14
BAR = 0.14
APART_RIGHT = 0.1

SEQUENTIAL: Colormap = colormaps["cividis"].with_extremes(bad=GAP)
DIVERGING: Colormap = LinearSegmentedColormap.from_list(
    "diverging", [BLUE, "#FFFFFF", VERMILLION]
).with_extremes(bad=GAP)
COLOURS = {"sequential": SEQUENTIAL, "diverging": DIVERGING}


def colours_of(panel: Map) -> Colormap:
    """The colours of a map: one for each of its classes, or all between two ends."""
    if not panel.classes:
        return COLOURS[panel.scale]
    count = len(panel.classes)
    each = [_PALE, _DARK] if count == 2 else list(SEQUENTIAL(np.linspace(0, 1, count)))
    return ListedColormap(each).with_extremes(bad=GAP)


def colour_scale(maps: list[Map]) -> Scale:
    """One scale of colours for the numbers of all the maps, which are of one kind.

    A diverging one has 0, or 1 on a logarithmic one, in its middle.
    """
    if maps[0].classes:
        return Scale(-0.5, len(maps[0].classes) - 0.5)
    kind, is_log = maps[0].scale, maps[0].log
    given = [end for one in maps if one.range for end in one.range]
    free = [np.ravel(one.values) for one in maps if not one.range]
    found = scale_of(free, is_log, least=tuple(given), margin=0)
    if kind != "diverging":
        return found
    low, high = found.ends
    reach = max(abs(low), abs(high))
    return Scale(10**-reach, 10**reach, True) if is_log else Scale(-reach, reach)


def rgb(colours: Colormap, shares: Floats) -> Floats:
    """(rows, columns, 4) of cells whose shares, NaN for no number, are (rows, columns)."""
    return np.asarray(colours(np.ma.masked_invalid(shares)), np.float64)


def ink_on(colour: Floats) -> str:
    """Black or white, whichever is told apart better from a colour.

    The relative luminance of WCAG 2, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance, at
    which the contrast to both is equal is 0.179.
    """
    parts = np.asarray(colour[:3])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return BLACK if float(linear @ (0.2126, 0.7152, 0.0722)) > 0.179 else "#FFFFFF"


def bar_ticks(scale: Scale, height: float, classes: tuple[str, ...] = ()) -> tuple[Tick, ...]:
    """Ticks of a colour bar, placed by share; of many classes some have names."""
    if classes:
        stride = ceil(len(classes) * TICK_LINE / height)
        return tuple(
            Tick((place + 0.5) / len(classes), shown(name))
            for place, name in list(enumerate(classes))[::stride]
        )
    low, high = scale.ends
    ticks = ticks_beside(scale, height).ticks
    return tuple(Tick((tick.at - low) / (high - low), tick.text) for tick in ticks)


def bar_room(ticks: tuple[Tick, ...], label: str, height: float) -> float:
    """Inches to the right of a panel that its colour bar takes."""
    lines = len(side_lines(label, height))
    return BEFORE_BAR + BAR + _words(ticks) + (ASIDE + lines * LINE if lines else 0) + APART_RIGHT


def draw_bar(place: Place, colours: Colormap, ticks: tuple[Tick, ...], label: str) -> None:
    """Draw a colour bar to the right of a panel."""
    width, height = place.paper.get_size_inches()
    left = place.left + place.width + BEFORE_BAR
    box = (left / width, place.bottom / height, BAR / width, place.height / height)
    axes = place.paper.add_axes(box)
    shades = np.linspace(0, 1, 256)[:, None]
    axes.imshow(shades, cmap=colours, vmin=0, vmax=1, origin="lower", extent=(0, 1, 0, 1))
    axes.set(aspect="auto", xticks=[])
    axes.grid(False)
    axes.yaxis.tick_right()
    axes.set_yticks([tick.at for tick in ticks], [tick.text for tick in ticks])
    start = left + BAR + _words(ticks) + ASIDE
    middle = place.bottom + place.height / 2
    for number, line in enumerate(side_lines(label, place.height)):
        at = start + (number + 0.5) * LINE
        say(place.paper, at, middle, line, rotation=90, ha="center", va="center")


def _words(ticks: tuple[Tick, ...]) -> float:
    return TICK + max((width_of(tick.text, TICK_POINTS) for tick in ticks), default=0)
