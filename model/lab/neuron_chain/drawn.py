"""Many random chains of a seed, and what one step makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.lab.neuron_chain.chain import (
    A,
    B,
    C,
    Point,
    Three,
    Update,
    gradient_by_autograd,
    in_order,
    passed,
    step,
    with_front,
)


@dataclass(frozen=True)
class Drawn:
    """Chains and a point for each of them, all N(0, 1)."""

    weights: Three  # (n,) each
    at: Point


def drawn(seed: int, count: int) -> Drawn:
    """The chains of a seed, the same at every call."""
    generator = torch.Generator().manual_seed(seed)
    a, b, c, x, y = torch.randn(5, count, generator=generator, dtype=torch.float64)
    return Drawn((a, b, c), Point(x, y))


def change_of_input(chains: Drawn, rate: float, update: Update) -> float:
    """|change of z_b| / |z_b| by one step at the same x: the median chain's."""
    after = step(chains.weights, chains.at, rate, update).after
    before = passed(chains.weights, chains.at).outputs[B]
    return _median((passed(after, chains.at).outputs[B] - before).abs() / before.abs())


def change_of_gradient(chains: Drawn, rate: float) -> float:
    """|G' - G| / |G| of w_c by a simultaneous step, definition 2.1: the median chain's."""
    after = step(chains.weights, chains.at, rate, "simultaneous").after
    here = passed(chains.weights, chains.at).gradient[C]
    there = passed(with_front(chains.weights, after), chains.at).gradient[C]
    return _median((there - here).abs() / here.abs())


def share_better(chains: Drawn, rate: float, update: Update) -> float:
    """In how many chains `update` leaves a lower loss than a simultaneous step, a share.

    Where both leave the same one, half a chain counts.
    """
    losses = [
        passed(step(chains.weights, chains.at, rate, one).after, chains.at).loss
        for one in (update, "simultaneous")
    ]
    lower, equal = losses[0] < losses[1], losses[0] == losses[1]
    return float(lower.double().mean() + equal.double().mean() / 2)


def share_stale(chains: Drawn, rate: float) -> float:
    """In how many chains the second step's gradient of w_c, as torch derives it, is that of the
    weights a and b from before the first step, and not of those that they then have; a share.
    """
    now = step(chains.weights, chains.at, rate, "simultaneous").after
    older = (chains.weights[A], chains.weights[B], now[C])
    found = gradient_by_autograd(now, chains.at)[C]
    distances = [(found - passed(one, chains.at).gradient[C]).abs() for one in (now, older)]
    return float((distances[1] < distances[0]).double().mean())


def change_by_order(chains: Drawn, rate: float) -> float:
    """The largest difference of any weight when the gradients of one pass are applied from c to a
    and not from a to c."""
    gradient = passed(chains.weights, chains.at).gradient
    both = [in_order(chains.weights, gradient, rate, one) for one in ((A, B, C), (C, B, A))]
    return max(float((one - two).abs().max()) for one, two in zip(*both, strict=True))


def rates(lowest: float = 1e-3, per_decade: int = 4, decades: int = 3) -> Sequence[float]:
    """Learning rates at which all of it is asked for again, evenly spread as logarithms."""
    return [lowest * 10 ** (n / per_decade) for n in range(per_decade * decades + 1)]


def _median(values: Tensor) -> float:
    return float(values.quantile(0.5))
