"""Three linear neurons in a row, their gradients by hand and by autograd, and one step of them.

    z_a = w_a x,  z_b = w_b z_a,  z_c = w_c z_b,  L = (z_c - y)^2

Every number is a float64 tensor of one shape: () for one chain, (n,) for n chains at once.
Neurons are in the order a, b, c.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Three = tuple[Tensor, Tensor, Tensor]  # of neurons a, b and c
Update = Literal["simultaneous", "front_to_back", "back_to_front"]
UPDATES: tuple[Update, ...] = ("simultaneous", "front_to_back", "back_to_front")
NEURONS = "abc"
A, B, C = range(3)


@dataclass(frozen=True)
class Point:
    """One row and its target."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Pass:
    """Forward and backward through one chain at one point."""

    inputs: Three  # x, z_a, z_b
    outputs: Three  # z_a, z_b, z_c
    loss: Tensor
    slopes: Three  # dL/dz of each output
    gradient: Three  # dL/dw


@dataclass(frozen=True)
class Step:
    """One update of all three weights."""

    seen: tuple[Pass, Pass, Pass]  # the pass from which each neuron took its gradient
    before: Three
    after: Three


def passed(weights: Three, at: Point) -> Pass:
    """Forward and backward by hand.

    dL/dz_c = 2 (z_c - y),  dL/dz_b = dL/dz_c w_c,  dL/dz_a = dL/dz_b w_b
    dL/dw of each neuron    = dL/dz times its input
    """
    w_a, w_b, w_c = weights
    z_a = w_a * at.x
    z_b = w_b * z_a
    z_c = w_c * z_b
    of_c = 2 * (z_c - at.y)
    of_b = of_c * w_c
    of_a = of_b * w_b
    gradient = (of_a * at.x, of_b * z_a, of_c * z_b)
    loss = (z_c - at.y).square()
    return Pass((at.x, z_a, z_b), (z_a, z_b, z_c), loss, (of_a, of_b, of_c), gradient)


def gradient_by_autograd(weights: Three, at: Point) -> Three:
    """dL/dw as torch derives it."""
    a, b, c = (one.detach().clone().requires_grad_() for one in weights)
    with torch.enable_grad():
        loss = (c * (b * (a * at.x)) - at.y).square().sum()
    found = torch.autograd.grad(loss, (a, b, c))
    return found[A], found[B], found[C]


def step(weights: Three, at: Point, rate: float, update: Update) -> Step:
    """Update all three weights by w <- w - rate dL/dw.

    `simultaneous`: every gradient is of the weights before the step, as backpropagation gives
    them. `front_to_back` and `back_to_front`: one neuron after the other, from a or from c, and
    forward and backward again in between, so that each gradient is of what has been updated.
    """
    now, first = list(weights), passed(weights, at)
    seen = [first] * 3
    for neuron in (C, B, A) if update == "back_to_front" else (A, B, C):
        if update != "simultaneous":
            seen[neuron] = passed((now[A], now[B], now[C]), at)
        now[neuron] = now[neuron] - rate * seen[neuron].gradient[neuron]
    return Step((seen[A], seen[B], seen[C]), weights, (now[A], now[B], now[C]))


def with_front(before: Three, after: Three) -> Three:
    """The weights of definition 2.1 for neuron c: a and b as after the step, c as before it."""
    return after[A], after[B], before[C]


def shift_by_hand(before: Three, after: Three, at: Point) -> Tensor:
    """G' - G of w_c from what enters it: 2 w_c (z_b'^2 - z_b^2) - 2 y (z_b' - z_b)."""
    here, there = (one[B] * one[A] * at.x for one in (before, after))
    squares = there.square() - here.square()
    return 2 * before[C] * squares - 2 * at.y * (there - here)


def in_order(weights: Three, gradient: Three, rate: float, order: tuple[int, ...]) -> Three:
    """Gradients of one pass applied one neuron after the other, in some order."""
    now = list(weights)
    for neuron in order:
        now[neuron] = now[neuron] - rate * gradient[neuron]
    return now[A], now[B], now[C]
