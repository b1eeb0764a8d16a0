"""Lipschitz and smoothness constants of the loss, estimated where training starts and ends."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan
from statistics import median

import torch
from torch import Tensor

from model.lab.landscape.arms import NORMS, Params
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


def caveat(found: Sequence[Constants]) -> tuple[str, ...]:
    """That the loss is flatter without norm where training starts, where it is."""
    told = {}
    for norm in NORMS:
        mine = [one.along for one in found if one.norm == norm and one.when == "start"]
        told[norm] = [
            median([one.lipschitz for one in mine] or [nan]),
            median([one.beta for one in mine] or [nan]),
        ]
    if not all(none < batch for none, batch in zip(told["none"], told["batch"], strict=True)):
        return ()
    (none, none_beta), (batch, batch_beta) = told["none"], told["batch"]
    return (
        f"Where training starts the loss is flatter without norm: L {none:.3g} and beta "
        f"{none_beta:.3g} along the gradient, against {batch:.3g} and {batch_beta:.3g} with batch "
        "norm (medians over seeds). What differs is how they grow once training is under way.",
    )


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
