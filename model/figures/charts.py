"""What a figure shows, as plain values: numbers, labels and what each panel is. It draws nothing.

`model.figures.draw_chart` draws it; JSON and CSV are written from the same values.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Numbers = Sequence[float]  # NaN and infinities are allowed, and drawn as marked gaps
#: Which look a curve has: equal roles look alike in every figure of the laboratory.
Role = Literal["batch", "none", "noisy", "other", "third", "fourth", "fifth", "aside"]
_NAME = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True)
class Curve:
    """A line, or points, with an optional band."""

    label: str
    x: Numbers
    y: Numbers
    role: Role
    low: Numbers | None = None  # of the band, with `high`
    high: Numbers | None = None
    n: int | None = None  # seeds that the band is over
    style: Literal["line", "points", "steps", "dashed"] = "line"


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
    """Histograms above each other, the first one lowest: one quantity at several times."""

    title: str
    x_label: str
    labels: tuple[str, ...]  # of each histogram: "step 100"
    edges: tuple[Numbers, ...]  # bins + 1 of each
    densities: tuple[Numbers, ...]  # bins of each, area 1
    shaded: tuple[tuple[float, float], ...] = ()  # intervals of x that mean something
    role: Role = "batch"


@dataclass(frozen=True)
class Bars:
    """Groups of bars with an interval each and a dot for every seed."""

    title: str
    y_label: str
    groups: tuple[str, ...]
    series: tuple["BarSeries", ...]
    y_log: bool = False
    guides: tuple[Guide, ...] = ()


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
    """A rectangle of coloured cells."""

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
    scale: Literal["sequential", "diverging", "binary"] = "sequential"


@dataclass(frozen=True)
class Path:
    """A trajectory over a surface."""

    label: str
    x: Numbers
    y: Numbers
    role: Role


@dataclass(frozen=True)
class Surface:
    """Contours of a loss over a plane."""

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
    share_x: bool = True  # panels of one kind have one scale, so that arms can be compared
    share_y: bool = True
    notes: tuple[str, ...] = ()  # what was down-sampled or left out

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not of small letters, digits and hyphens")
        if not self.panels:
            raise ValueError(f"figure {self.name} has no panel")
