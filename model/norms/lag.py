"""How long a running average remembers the 0 and 1 that it started from.

Arithmetic on momentum and batch counts alone: no tensor, so that a submission can be told
before anything exists.
"""

from dataclasses import dataclass
from math import ceil, exp, inf, log, log1p

MOST_SHARE = 0.05  # of the starting value, up to which running statistics count as learned
MOST_STEPS = 2**53  # more than this is never; also the last integer that JSON holds everywhere


@dataclass(frozen=True)
class Forecast:
    """What the momentum says of a run before it starts."""

    trustworthy_step: int | None  # first step with a share of at most MOST_SHARE; None: never
    share_at_end: float  # of the starting value, after the last step
    is_reached: bool  # whether the budget reaches the trustworthy step


def share_left(momentum: float | None, batches: int) -> float:
    """Share of the starting value in a running statistic, (1 - momentum)^batches.

    Args:
        momentum: share of the newest batch; None is the cumulative average.
        batches: seen in training mode.

    Returns:
        0 to 1. With momentum None 0 after the first batch, with momentum 0 always 1.
    """
    if batches <= 0:
        return 1.0
    return 0.0 if momentum is None or momentum >= 1 else exp(batches * log1p(-momentum))


def window(momentum: float | None, batches: int) -> float | None:
    """Batches that a running statistic effectively averages over.

    2 / momentum - 1 is the length of the plain average whose mean has the same variance as
    the exponential one, once the start is forgotten. With momentum None it is `batches`;
    with momentum 0 nothing is averaged: None.
    """
    if momentum is None:
        return float(batches)
    length = inf if momentum == 0 else 2 / momentum - 1
    return length if length < inf else None


def trustworthy_step(momentum: float | None) -> int | None:
    """First step whose share of the starting value is at most 5 %: ln(.05) / ln(1 - momentum).

    Returns:
        2,995 at momentum .001; 1 with momentum None; None where it never comes, as with
        momentum 0.
    """
    if momentum is None or momentum >= 1:
        return 1
    if MOST_STEPS * log1p(-momentum) > log(MOST_SHARE):
        return None
    return max(1, ceil(log(MOST_SHARE) / log1p(-momentum)))


def forecast(momentum: float | None, steps: int) -> Forecast:
    """From which step eval mode can be trusted, and whether `steps` steps reach it."""
    first = trustworthy_step(momentum)
    return Forecast(first, share_left(momentum, steps), first is not None and first <= steps)
