"""The loss over random directions around a network, scaled so that networks can be compared.

A direction is drawn from N(0, 1). Filter normalization then gives each filter of it, a slice
of a weight along its first axis (a linear layer's unit, a convolution's channel, a row of an
embedding), the norm that the network's own filter has:

    d_i <- d_i * |theta_i| / (|d_i| + 1e-10)

Biases and the parameters of norms do not move. A network whose weights are ten times as large
in front of a norm answers alike, and so has the same surface; along a raw direction it has
another.

Li et al. 2018, section 4: https://arxiv.org/abs/1712.09913
"""

from collections.abc import Sequence
from math import isfinite, nan

import torch
from torch import Tensor, nn

from model.measures.objective import Objective, flatten, parameters_of
from model.measures.sites import embedding_sites, weight_sites

SMALLEST = 1e-10  # added to a filter's norm before it divides
STEP = 0.1  # of the second difference that is called curvature


def filter_normalized(network: nn.Module, generator: torch.Generator) -> Tensor:
    """A random direction with the network's own norm in every filter, (P,).

    Args:
        generator: of the CPU; moves by as many numbers as the weights have.
    """
    drawn = _drawn(network, generator)
    moving = _weights(network)
    return flatten(
        {
            name: _rescaled(direction, moving[name]) if name in moving else direction
            for name, direction in drawn.items()
        }
    )


def curve(at: Objective, center: Tensor, direction: Tensor, steps: Sequence[float]) -> list[float]:
    """Losses at `center + step * direction`; NaN or infinite where they are.

    Args:
        at: with `statistics` recomputed at every point or held, which whoever draws must say.
    """
    with at.kept():
        return at.along(center, direction, steps)


def surface(
    at: Objective,
    center: Tensor,
    directions: tuple[Tensor, Tensor],
    x: Sequence[float],
    y: Sequence[float],
) -> list[list[float]]:
    """Losses at `center + x * first + y * second`, [row of y][column of x]."""
    first, second = directions
    return [curve(at, center + b * second, first, x) for b in y]


def mean_curvature(
    at: Objective, center: Tensor, directions: Sequence[Tensor], h: float = STEP
) -> float:
    """Mean over directions d of (f(h d) + f(-h d) - 2 f(0)) / h^2, f the loss around center."""
    (here,) = curve(at, center, directions[0], [0.0])
    found = (sum(curve(at, center, one, [-h, h])) for one in directions)
    return sum((both - 2 * here) / h**2 for both in found) / len(directions)


def share_near_minimum(losses: Sequence[Sequence[float]], factor: float = 2.0) -> float:
    """Share of a grid below `factor` times its smallest finite loss; NaN where none is finite.

    A loss that is not finite is not below.
    """
    every = [loss for row in losses for loss in row]
    known = [loss for loss in every if isfinite(loss)]
    if not known:
        return nan
    return sum(loss < factor * min(known) for loss in known) / len(every)


def _weights(network: nn.Module) -> dict[str, Tensor]:
    """The parameters that move: weights of linear layers, convolutions and embeddings."""
    sites = *weight_sites(network), *embedding_sites(network)
    names = [f"{site.name}.weight" for site in sites]
    return {name: network.get_parameter(name).detach() for name in names}


def _drawn(network: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    moving = _weights(network)
    return {
        name: torch.randn(one.shape, generator=generator, dtype=one.dtype).to(one.device)
        if name in moving
        else torch.zeros_like(one)
        for name, one in parameters_of(network).items()
    }


def _rescaled(direction: Tensor, weight: Tensor) -> Tensor:
    wanted, norms = (torch.linalg.vector_norm(one.flatten(1), dim=1) for one in (weight, direction))
    factors: Tensor = wanted / (norms + SMALLEST)
    return direction * factors.view(-1, *(1,) * (direction.dim() - 1))
