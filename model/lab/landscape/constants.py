"""Lipschitz and smoothness constants of the loss, estimated where training starts and ends."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.lab.landscape.arms import Params
from model.lab.landscape.look import Look
from model.lab.report import Table
from model.measures.crossing import spread
from model.measures.objective import Objective, moved, norm_of
from model.measures.smoothness import Smoothness, pairs_along, pairs_around, smoothness

DIRECTIONS = 8  # drawn at random


@dataclass(frozen=True)
class Constants:
    """Estimates at one network of a run."""

    norm: str
    seed: int
    when: str  # start or end
    slope: float  # norm of the gradient
    along: Smoothness  # from one step length along the gradient to the next
    around: Smoothness  # in random directions, one learning rate times the gradient far


def estimate(params: Params, looks: Sequence[Look]) -> tuple[Constants, ...]:
    """Of every run, at its start and at its end."""
    return tuple(
        _constants(params, look, when, at)
        for look in looks
        for when, at in (("start", look.start), ("end", look.end))
        if at is not None
    )


def table(found: Sequence[Constants]) -> Table:
    """All of them."""
    rows = tuple(
        (
            *(one.norm, one.seed, one.when, one.slope),
            *(one.along.lipschitz, one.along.beta, one.around.lipschitz, one.around.beta),
        )
        for one in found
    )
    columns = (
        *("norm", "seed", "at the", "norm of the gradient", "L along the gradient"),
        *("beta along the gradient", "L around", "beta around"),
    )
    title = "Estimates of the Lipschitz constants of the loss (L) and of its gradient (beta)"
    note = (
        "Lower bounds, each the largest ratio over pairs of points; statistics of all rows "
        "recomputed at every point."
    )
    return Table("constants", title, columns, rows, note)


def _constants(params: Params, look: Look, when: str, at: Objective) -> Constants:
    theta, seed = at.here, look.run.seed
    generator = torch.Generator().manual_seed(seed)
    with at.kept():
        _, gradient = at.gradient(theta)
        slope = norm_of(gradient)
        along = smoothness(at.gradient, pairs_along(_points(params, theta, gradient)))
        pairs = pairs_around(theta, params.lr * slope, DIRECTIONS, generator)
        around = smoothness(at.gradient, pairs)
    return Constants(look.norm, seed, when, slope, along, around)


def _points(params: Params, theta: Tensor, gradient: Tensor) -> Iterator[Tensor]:
    yield theta
    for length in spread(params.low, params.high, params.lengths, params.spacing):
        yield moved(theta, gradient, -length * params.lr)
