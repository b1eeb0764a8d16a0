"""Bands over the optimizer steps in a grid of panels: a row per layer, a column per measure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from matplotlib.transforms import ScaledTranslation
from matplotlib.typing import LineStyleType

from model.figures.distances import Band, LayerDistances, Measure, Source, limits
from model.figures.look import (
    BLUE,
    PALE_INK,
    POINTS_PER_INCH,
    TITLE_POINTS,
    VERMILLION,
    draw,
)
from model.figures.text import counted, legible

# Inches.
WIDTH = 9.6
PANEL = 1.05
BETWEEN_ROWS = 0.42
BETWEEN_COLUMNS = 0.75
LEFT, RIGHT = 0.65, 0.4
HEAD, LINE, FOOT = 1.45, 0.2, 0.6  # the head's lines below the title come on top

GAPS = 0.35  # heights of a panel's numbers that marks for gaps have above them
MOST_MARKED = 40  # checkpoints; with more, a line has no marks
MOST_NAME = 32  # characters of a layer's name


@dataclass(frozen=True)
class Style:
    """How one source is drawn."""

    caption: str
    colour: str
    line: LineStyleType
    mark: str
    aside: float  # points to the right where a checkpoint stands alone, for the other's sake
    gaps_at: float  # where its gaps are marked, in heights of a panel


STYLES: Mapping[Source, Style] = {
    "running": Style("running statistics", BLUE, "-", "o", -5.0, 0.93),
    "batch": Style("one training batch", VERMILLION, "--", "s", 5.0, 0.81),
}


@dataclass(frozen=True)
class Column:
    """What one column of panels shows."""

    measure: Measure
    heading: str
    least: tuple[float, float]  # what its axis shows in any case


COLUMNS = (
    Column("mean_sd", "Mean: |mean - population mean|, in population SDs", (0.0, 0.1)),
    Column("log_variance", "Variance: ln(variance / population variance)", (-0.1, 0.1)),
)


def draw_panels(
    title: str, told: Sequence[str], steps: list[int], layers: list[LayerDistances]
) -> bytes:
    """An SVG file of some layers, at least one, at some checkpoints, at least one.

    Args:
        told: lines below the title.
        steps: optimizer steps done at each checkpoint, ascending.
    """
    head = HEAD + len(told) * LINE
    height = head + len(layers) * PANEL + (len(layers) - 1) * BETWEEN_ROWS + FOOT

    def fill(figure: Figure) -> None:
        _say(figure, title, told)
        legend = _legend(figure, len(steps) == 1, any(layer.has_gaps for layer in layers))
        legend.set_bbox_to_anchor((LEFT / WIDTH, 1 - (head - 0.85) / height))
        panels = _panels(figure, len(layers), head)
        for place, column in enumerate(COLUMNS):
            _fill_column(panels[:, place], column, steps, layers)
        for axes, layer in zip(panels[:, 0], layers, strict=True):
            name = legible(layer.layer, MOST_NAME)
            axes.set_title(f"layer {name}, {counted(layer.channels, 'channel')}", loc="left", pad=5)

    return draw(title, (WIDTH, height), fill)


def draw_nothing(title: str, told: Sequence[str], why: str) -> bytes:
    """An SVG file that says why it shows nothing."""

    def fill(figure: Figure) -> None:
        _say(figure, title, told)
        figure.text(0.5, 0.25, f"Nothing to draw: {why}.", ha="center", va="center")

    return draw(title, (WIDTH, HEAD), fill)


def _say(figure: Figure, title: str, told: Sequence[str]) -> None:
    left, height = LEFT / WIDTH, figure.get_figheight()
    figure.text(left, 1 - 0.35 / height, title, size=TITLE_POINTS, weight="bold", va="center")
    for place, line in enumerate(told):
        below = 0.61 + place * LINE
        figure.text(left, 1 - below / height, line, color=PALE_INK, va="center")


def _panels(figure: Figure, rows: int, head: float) -> Any:
    """(rows, columns) of axes that share their steps."""
    height, columns = figure.get_figheight(), len(COLUMNS)
    panel = (WIDTH - LEFT - RIGHT - (columns - 1) * BETWEEN_COLUMNS) / columns
    place = {
        "left": LEFT / WIDTH,
        "right": 1 - RIGHT / WIDTH,
        "top": 1 - head / height,
        "bottom": FOOT / height,
        "hspace": BETWEEN_ROWS / PANEL,
        "wspace": BETWEEN_COLUMNS / panel,
    }
    return figure.subplots(rows, columns, sharex=True, squeeze=False, gridspec_kw=place)


def _fill_column(
    panels: Any, column: Column, steps: list[int], layers: list[LayerDistances]
) -> None:
    all_bands = (layer.bands[source, column.measure] for layer in layers for source in STYLES)
    low, high = limits(all_bands, column.least)
    if any(layer.has_gaps for layer in layers):
        high += GAPS * (high - low)
    for row, (axes, layer) in enumerate(zip(panels, layers, strict=True)):
        axes.set_ylim(low, high)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.axhline(0, color=PALE_INK, linewidth=0.8, zorder=1.5)
        for source, style in STYLES.items():
            band = layer.bands[source, column.measure]
            _draw_band(axes, steps, band, style, f"{source}-{column.measure}-{row}")
    _head(panels[0], column.heading)
    _show_steps(panels[-1], steps)


def _head(axes: Axes, heading: str) -> None:
    """Above a column's first panel, and above the name of that panel's layer."""
    points = (0, 24)
    axes.annotate(
        heading, (0, 1), points, "axes fraction", textcoords="offset points", weight="bold"
    )


def _show_steps(axes: Axes, steps: list[int]) -> None:
    first, last = min(steps), max(steps)
    margin = 0.02 * (last - first) or 1
    axes.set_xlim(first - margin, last + margin)
    axes.set_xlabel("optimizer step")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if first == last:
        axes.set_xticks([first])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))


def _draw_band(axes: Axes, steps: list[int], band: Band, style: Style, name: str) -> None:
    """One source in one panel; `name` becomes the id of its line, `name-band` of its band."""
    aside = style.aside / POINTS_PER_INCH if len(steps) == 1 else 0.0
    moved = ScaledTranslation(aside, 0, axes.figure.dpi_scale_trans)
    look: dict[str, Any] = {"color": style.colour, "transform": axes.transData + moved}
    middle = axes.fill_between(steps, band.p25, band.p75, alpha=0.2, linewidth=0, **look)
    middle.set_gid(f"{name}-band")
    alone = [place for place, is_alone in enumerate(band.alone) if is_alone]
    axes.vlines(
        [steps[place] for place in alone],
        [band.p25[place] for place in alone],
        [band.p75[place] for place in alone],
        **look,
    )
    marked = None if len(steps) <= MOST_MARKED else alone
    axes.plot(
        steps,
        band.median,
        linestyle=style.line,
        marker=style.mark,
        markevery=marked,
        gid=name,
        **look,
    )
    look["transform"] = axes.get_xaxis_transform() + moved
    gaps = [step for step, is_gap in zip(steps, band.gaps, strict=True) if is_gap]
    axes.plot(gaps, [style.gaps_at] * len(gaps), "x", markersize=4.5, **look)


def _legend(figure: Figure, is_single: bool, has_gaps: bool) -> Legend:
    spread: Artist = Patch(color=PALE_INK, alpha=0.3, linewidth=0)
    if is_single:
        spread = Line2D([], [], color=PALE_INK, linestyle="", marker="|", markersize=10)
    median = Line2D([], [], color=PALE_INK, linestyle="" if is_single else "-", marker="o")
    handles: dict[str, Any] = {
        style.caption: Line2D(
            [],
            [],
            color=style.colour,
            linestyle="" if is_single else style.line,
            marker=style.mark,
        )
        for style in STYLES.values()
    }
    handles["median and middle half of the channels"] = (spread, median)
    if has_gaps:
        handles["no number"] = Line2D([], [], color=PALE_INK, linestyle="", marker="x")
    return figure.legend(
        handles.values(),
        handles.keys(),
        loc="upper left",
        ncols=len(handles),
        borderpad=0,
        borderaxespad=0,
    )
