"""The longest safe step along the gradient, and how far the gradient turns in a step."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from model.measures.crossing import bisect, first_crossing, log_steps
from model.measures.objective import Objective, cosine, moved

TOLERANCE = 1e-3  # of the step's length
PER_DECADE = 10


@dataclass(frozen=True)
class LargestStep:
    """How long a step along the gradient may be, or a bound on it.

    `below`: even the shortest step raises the loss, or there is no finite loss to compare with.
    `above`: the longest step does not raise it.
    """

    alpha: float | None  # None: there is only a bound
    bound: Literal["below", "above"] | None
    low: float  # shortest step that was tried
    high: float  # longest step that was tried


def largest_step(at: Objective, start: Tensor, low: float = 1e-8, high: float = 1e3) -> LargestStep:
    """The largest alpha up to which L(theta - alpha g) <= L(theta), with g the gradient at theta.

    The first crossing on ten steps a decade, then bisection to 1e-3 of its length: a dip
    further along does not count, nor does a bump between two neighbouring steps. Computed in
    float64, for the shortest steps change a loss by less than float32 holds.

    Args:
        at: its network, batch and statistics; nothing of it is changed.
        start: theta, (P,).
    """
    wide, theta = at.wide(), start.double()
    with wide.kept():
        loss, gradient = wide.gradient(theta)

        def after(alpha: float) -> float:
            return wide.value(moved(theta, gradient, -alpha))

        held, passed = first_crossing(after, loss, log_steps(low, high, PER_DECADE))
        if held is None:
            return LargestStep(None, "below", low, high)
        if passed is None:
            return LargestStep(None, "above", low, high)
        return LargestStep(bisect(after, loss, held, passed, TOLERANCE), None, low, high)


def turn(at: Objective, start: Tensor, alpha: float) -> float:
    """Cosine between the gradient at theta and the gradient at theta - alpha g.

    NaN where one of them is 0 or not finite.

    Args:
        start: theta, (P,).
        alpha: a learning rate: the step is alpha times as long as the gradient.
    """
    with at.kept():
        _, before = at.gradient(start)
        _, after = at.gradient(moved(start, before, -alpha))
    return cosine(before, after)
