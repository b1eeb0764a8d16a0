"""What a figure shows, as plain values: numbers, labels and what each panel is. It draws nothing.

`model.figures.draw_chart` draws it, `model.figures.chart_data` writes it as JSON and CSV.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from typing import Literal

Numbers = Sequence[float]  # NaN and infinities are allowed, and drawn as marked gaps
#: Which look a curve has: equal roles look alike in every figure of the laboratory.
Role = Literal["batch", "none", "noisy", "other", "third", "fourth", "fifth", "aside"]
_NAME = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True)
class Curve:
    """A line, or points, with an optional band.

    Raises:
        ValueError: `y` or a band of another length than `x`, or half a band.
    """

    label: str
    x: Numbers
    y: Numbers
    role: Role
    low: Numbers | None = None  # of the band, with `high`
    high: Numbers | None = None
    n: int | None = None  # seeds that the band is over
    style: Literal["line", "points", "steps", "dashed"] = "line"
    band: str = "band"  # what it is: "min to max", "95 % interval"

    def __post_init__(self) -> None:
        whose = f"curve {self.label!r}"
        if (self.low is None) != (self.high is None):
            raise ValueError(f"{whose} has one end of a band without the other")
        _same_length(whose, x=self.x, y=self.y, low=self.low, high=self.high)


@dataclass(frozen=True)
class Guide:
    """A straight line that numbers are read against."""

    at: float
    label: str
    axis: Literal["x", "y"] = "y"


@dataclass(frozen=True)
class Curves:
    """Curves over one axis."""

    title: str
    x_label: str  # with its unit
    y_label: str
    curves: tuple[Curve, ...]
    x_log: bool = False
    y_log: bool = False
    guides: tuple[Guide, ...] = ()
    marks: tuple[tuple[float, float, str], ...] = ()  # x, y and the words at an arrow
    y_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Ridges:
    """Histograms above each other, the first one lowest: one quantity at several times.

    Raises:
        ValueError: not one label, density and list of edges for each, or not one edge more
            than bins.
    """

    title: str
    x_label: str
    labels: tuple[str, ...]  # of each histogram: "step 100"
    edges: tuple[Numbers, ...]  # bins + 1 of each
    densities: tuple[Numbers, ...]  # bins of each, area 1
    shaded: tuple[tuple[float, float], ...] = ()  # intervals of x that mean something
    role: Role = "batch"
    shaded_label: str = ""  # what they mean

    def __post_init__(self) -> None:
        whose = f"ridges {self.title!r}"
        _same_length(whose, labels=self.labels, edges=self.edges, densities=self.densities)
        for edges, densities in zip(self.edges, self.densities, strict=True):
            if len(edges) != len(densities) + 1:
                raise ValueError(f"{whose}: {len(edges)} edges of {len(densities)} bins")


@dataclass(frozen=True)
class Bars:
    """Groups of bars with an interval each and a dot for every seed.

    Raises:
        ValueError: a series that has not one number for each group.
    """

    title: str
    y_label: str
    groups: tuple[str, ...]
    series: tuple["BarSeries", ...]
    y_log: bool = False
    guides: tuple[Guide, ...] = ()
    interval: str = "interval"  # what `low` and `high` of the bars are: "95 % interval"

    def __post_init__(self) -> None:
        for one in self.series:
            _same_length(
                f"bars {one.label!r}",
                groups=self.groups,
                values=one.values,
                low=one.low,
                high=one.high,
                seeds=one.seeds or None,
            )


@dataclass(frozen=True)
class BarSeries:
    """One bar in each group."""

    label: str
    values: Numbers
    role: Role
    low: Numbers | None = None
    high: Numbers | None = None
    seeds: tuple[Numbers, ...] = ()  # of each group, one number a seed


@dataclass(frozen=True)
class Map:
    """A rectangle of coloured cells.

    Raises:
        ValueError: rows, ticks or texts that do not fit each other.
    """

    title: str
    x_label: str
    y_label: str
    values: tuple[Numbers, ...]  # rows, the first one on top
    colour_label: str
    x_ticks: tuple[str, ...] = ()  # of every column; () numbers them
    y_ticks: tuple[str, ...] = ()
    texts: tuple[tuple[str, ...], ...] = ()  # in every cell
    range: tuple[float, float] | None = None
    log: bool = False
    scale: Literal["sequential", "diverging"] = "sequential"
    classes: tuple[str, ...] = ()  # names of the values, which then are 0, 1, ...
    #: From and to of x, then of y: the cells are a piece of a plane, as wide as high.
    plane: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        whose = f"map {self.title!r}"
        columns = self.values[0] if self.values else ()
        _same_length(whose, rows=self.values, y_ticks=self.y_ticks or None)
        _same_length(whose, columns=columns, x_ticks=self.x_ticks or None)
        _same_length(whose, rows=self.values, texts=self.texts or None)
        for row in chain(self.values, self.texts):
            _same_length(whose, first_row=columns, row=row)
        known = {float(place) for place in range(len(self.classes))}
        if known and not known.issuperset(v for row in self.values for v in row if isfinite(v)):
            raise ValueError(f"{whose} has values other than its classes 0 to {len(known) - 1}")


@dataclass(frozen=True)
class Path:
    """A trajectory over a surface.

    Raises:
        ValueError: `x` and `y` of other lengths.
    """

    label: str
    x: Numbers
    y: Numbers
    role: Role

    def __post_init__(self) -> None:
        _same_length(f"path {self.label!r}", x=self.x, y=self.y)


@dataclass(frozen=True)
class Surface:
    """Contours of a loss over a plane.

    Raises:
        ValueError: `z` has not a row for each `y` and a column for each `x`.
    """

    title: str
    x_label: str
    y_label: str
    x: Numbers
    y: Numbers
    z: tuple[Numbers, ...]  # z[row of y][column of x]
    colour_label: str
    log: bool = True
    paths: tuple[Path, ...] = ()
    statistics: str = ""  # "recomputed at every point" or "held": always shown

    def __post_init__(self) -> None:
        whose = f"surface {self.title!r}"
        _same_length(whose, y=self.y, rows=self.z)
        for row in self.z:
            _same_length(whose, x=self.x, columns=row)


Panel = Curves | Ridges | Bars | Map | Surface


@dataclass(frozen=True)
class Figure:
    """Panels in rows.

    Raises:
        ValueError: a name that is no file name, or no panel.
    """

    name: str  # letters, digits and hyphens; its address
    title: str
    evidence: str  # the sentence that it is evidence for
    panels: tuple[Panel, ...]
    columns: int = 1
    #: Panels that show one quantity have one scale, so that arms can be compared: those of one
    #: kind whose axes have equal words. `share_y` also holds for the colours of maps and surfaces.
    share_x: bool = True
    share_y: bool = True
    notes: tuple[str, ...] = ()  # what was down-sampled or left out

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not of small letters, digits and hyphens")
        if not self.panels:
            raise ValueError(f"figure {self.name} has no panel")
        if self.columns < 1:
            raise ValueError(f"figure {self.name} has {self.columns} columns")


def _same_length(whose: str, **parts: Sequence[object] | None) -> None:
    """Raise unless all parts that are there have one length."""
    lengths = {name: len(part) for name, part in parts.items() if part is not None}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"{whose} has parts of unequal lengths: {told}")
