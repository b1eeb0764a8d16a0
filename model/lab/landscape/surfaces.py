"""The loss around the trained networks along random directions that are filter-normalized.

Statistics are recomputed at every point, as training sees the loss, or held at the running ones,
as eval mode does: away from the network these are statistics of another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan

import torch
from torch import Tensor

from model.figures.charts import Curve, Curves, Figure, Role, Surface
from model.lab.bands import over_seeds
from model.lab.landscape.arms import NORMS, Params
from model.lab.landscape.look import Look, one_seed
from model.lab.report import Table
from model.lab.results import Results, RunResult, Series
from model.measures.crossing import spread
from model.measures.objective import Objective, Statistics
from model.measures.surface import curve, filter_normalized, mean_curvature, share_near_minimum
from model.measures.surface import surface as losses_over

HALF = 1.0  # the directions are as long as the network's own filters: how far is gone, each way
POINTS = 41  # of a line
MOST_LOSS = 1e3  # drawn: above, a loss is as good as infinite
ROLES: dict[str, Role] = {"none": "none", "batch": "batch"}
WORDS = {"none": "no norm", "batch": "batch norm"}
HOW: dict[Statistics, str] = {"recomputed": "recomputed at every point", "held": "held"}


@dataclass(frozen=True)
class Line:
    """The loss along one random direction through one trained network."""

    norm: str
    seed: int
    statistics: Statistics
    losses: tuple[float, ...]
    curvature: float


@dataclass(frozen=True)
class Seen:
    """The loss over a plane through one trained network."""

    norm: str
    seed: int
    statistics: Statistics
    surface: Surface


@dataclass(frozen=True)
class Around:
    """What is seen around the trained networks."""

    lines: tuple[Line, ...]
    surfaces: tuple[Seen, ...]


def look_around(params: Params, results: Results, looks: Sequence[Look]) -> Around:
    """Lines of every seed, surfaces of the first in which both arms ended well, or one."""
    lines, surfaces = list[Line](), list[Seen]()
    shown = one_seed(*(_ended(looks, norm) for norm in NORMS))
    for norm in NORMS:
        for look in looks:
            if look.norm != norm or look.end is None:
                continue
            directions = _directions(look.end, look.run)
            for statistics in _ways(norm):
                at = replace(look.end, statistics=statistics)
                lines.append(_line(look, at, directions))
                results.moved()
                if look.run.seed == shown:
                    seen = _surface(params, norm, at, directions)
                    surfaces.append(Seen(norm, look.run.seed, statistics, seen))
                    results.moved()
    return Around(tuple(lines), tuple(surfaces))


def _ended(looks: Sequence[Look], norm: str) -> list[int]:
    return [one.run.seed for one in looks if one.norm == norm and one.end is not None]


def figures(around: Around) -> tuple[Figure, ...]:
    """Lines of all seeds, and surfaces."""
    if not around.lines:
        return ()
    ways: Sequence[Statistics] = ("recomputed", "held")
    one = Figure(
        "line",
        "Loss along a random direction from the trained networks",
        "How sharp the loss is around what was found; with held statistics batch norm is seen as "
        "eval mode has it, with recomputed ones as training.",
        tuple(_panel(around, statistics) for statistics in ways),
        columns=2,
        notes=(
            "lines: median over seeds; bands: lowest to highest",
            "every filter of the direction is as long as the network's own",
            f"losses above {MOST_LOSS:g} are shown as {MOST_LOSS:g}",
        ),
    )
    two = Figure(
        "surface",
        "Loss over two random directions from the trained networks",
        "The same over a plane: a smooth bowl with batch norm or without?",
        tuple(one.surface for one in around.surfaces),
        columns=3,
        notes=(
            f"seed {around.surfaces[0].seed}; every filter of both directions is as long as the "
            "network's own",
            f"losses above {MOST_LOSS:g} have the colour of {MOST_LOSS:g}",
        ),
    )
    return one, two


def table(around: Around) -> Table:
    """Curvatures of every seed, and how much of the plane is near the minimum."""
    shares = {
        (one.norm, one.seed, one.statistics): share_near_minimum(one.surface.z)
        for one in around.surfaces
    }
    rows = tuple(
        (
            *(one.norm, one.seed, HOW[one.statistics], one.curvature),
            shares.get((one.norm, one.seed, one.statistics)),
        )
        for one in around.lines
    )
    columns = (
        *("norm", "seed", "statistics", "mean curvature"),
        "share of the plane below twice the smallest loss",
    )
    title = "Around the trained networks, along filter-normalized directions"
    note = f"Planes are those of seed {around.surfaces[0].seed}."
    return Table("around", title, columns, rows, note)


def _ways(norm: str) -> tuple[Statistics, ...]:
    return ("recomputed",) if norm == "none" else ("recomputed", "held")


def _directions(at: Objective, run: RunResult) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(run.seed)
    return filter_normalized(at.network, generator), filter_normalized(at.network, generator)


def _line(look: Look, at: Objective, directions: tuple[Tensor, Tensor]) -> Line:
    theta = at.here
    losses = curve(at, theta, directions[0], spread(-HALF, HALF, POINTS, "linear"))
    curvature = mean_curvature(at, theta, directions)
    return Line(look.norm, look.run.seed, at.statistics, tuple(map(_bounded, losses)), curvature)


def _surface(
    params: Params, norm: str, at: Objective, directions: tuple[Tensor, Tensor]
) -> Surface:
    ends = spread(-HALF, HALF, params.grid, "linear")
    found = losses_over(at, at.here, directions, ends, ends)
    return Surface(
        title=WORDS[norm],
        x_label="first direction",
        y_label="second direction",
        x=ends,
        y=ends,
        z=tuple([_bounded(loss) for loss in row] for row in found),
        colour_label="loss on training rows",
        statistics="" if norm == "none" else HOW[at.statistics],
    )


def _panel(around: Around, statistics: Statistics) -> Curves:
    curves = []
    for norm in NORMS:
        wanted = statistics if norm == "batch" else "recomputed"
        mine = [one for one in around.lines if one.norm == norm and one.statistics == wanted]
        if mine:
            curves.append(_over_seeds(mine, norm))
    title = f"statistics {HOW[statistics]}"
    x_label = "step, in lengths of the network's own filters"
    return Curves(title, x_label, "loss on training rows", tuple(curves), y_log=True)


def _over_seeds(lines: Sequence[Line], norm: str) -> Curve:
    series = [Series(tuple(range(POINTS)), one.losses) for one in lines]
    found = over_seeds(series, WORDS[norm], ROLES[norm])
    return replace(found, x=spread(-HALF, HALF, POINTS, "linear"))


def _bounded(loss: float) -> float:
    return min(loss, MOST_LOSS) if isfinite(loss) else (MOST_LOSS if loss > 0 else nan)
