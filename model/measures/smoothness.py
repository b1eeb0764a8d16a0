"""How fast a function and its gradient change, estimated from pairs of points.

    L_hat    = max over pairs of |f(x) - f(y)| / |x - y|
    beta_hat = max over pairs of |grad f(x) - grad f(y)| / |x - y|

Both are lower bounds of the Lipschitz constants of f and of its gradient: another pair may be
steeper. For f = x'Ax / 2 with A symmetric, beta_hat is exact for a pair along the eigenvector
of the eigenvalue that is largest in size.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import isnan, nan

import torch
from torch import Tensor

from model.measures.objective import norm_of

Function = Callable[[Tensor], tuple[float, Tensor]]  # value and gradient: `Objective.gradient`
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Smoothness:
    """What some pairs say of a function; NaN without a pair, or with one that has no number."""

    lipschitz: float
    beta: float
    pairs: int


def smoothness(function: Function, pairs: Iterable[Pair]) -> Smoothness:
    """Both estimates, from two evaluations a pair.

    Args:
        pairs: of points (P,); two equal points are no pair and are left out.
    """
    ratios = [ratio for pair in pairs if (ratio := _ratios(function, *pair)) is not None]
    slopes, turns = [slope for slope, _ in ratios], [turn for _, turn in ratios]
    return Smoothness(_largest(slopes), _largest(turns), len(ratios))


def pairs_around(
    center: Tensor, distance: float, count: int, generator: torch.Generator
) -> Iterator[Pair]:
    """Pairs of the center and a point that far from it, in directions drawn uniformly.

    Args:
        center: (P,), on any device.
        generator: of the CPU.
    """
    for _ in range(count):
        drawn = torch.randn(center.shape, generator=generator, dtype=torch.float64)
        step = drawn * (distance / norm_of(drawn))
        yield center, center + step.to(center)


def pairs_along(points: Iterable[Tensor]) -> Iterator[Pair]:
    """Neighbouring points of a path."""
    before = None
    for point in points:
        if before is not None:
            yield before, point
        before = point


def _ratios(function: Function, x: Tensor, y: Tensor) -> tuple[float, float] | None:
    apart = norm_of(x - y)
    if apart == 0:
        return None
    (value_x, gradient_x), (value_y, gradient_y) = function(x), function(y)
    return abs(value_x - value_y) / apart, norm_of(gradient_x - gradient_y) / apart


def _largest(ratios: list[float]) -> float:
    return nan if not ratios or any(map(isnan, ratios)) else max(ratios)
