"""The losses at which a deep linear network lingers: those of the best maps of every lower rank.

With all rows X (n, d) and targets Y (n, k), the best linear map is least squares, Y^ = X B. Of
rank r at most, the best one leaves

    level(r) = half * (|Y - Y^|^2 + sum of s_i^2 over i > r)

with s_i the singular values of Y^, the largest first (Eckart and Young, applied to Y^). Each is a
saddle of the loss of a product of matrices, near which gradient descent from small weights stays
for long.
"""

from collections.abc import Sequence
from itertools import chain
from math import isfinite

import numpy as np
import numpy.typing as npt

from model.figures.charts import Curve, Guide

MOST_GUIDES = 4  # each has a dash of its own


def rank_levels(inputs: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[float, ...]:
    """Half the sum of squares that the best linear map of rank 0, 1, ... leaves, descending.

    Computed in float64. The first is that of answering 0, the last that of least squares.

    Shape:
        inputs: (n, d), or (n, *) to be flattened; targets: (n, k). No constant is fitted.
        returns: min(d, k) + 1 numbers.
    """
    y = np.asarray(targets, np.float64)
    x = np.asarray(inputs, np.float64).reshape(len(y), -1)
    fitted = x @ np.linalg.lstsq(x, y, rcond=None)[0]
    singular = np.linalg.svd(fitted, compute_uv=False)[: min(x.shape[1], y.shape[1])]
    rest = np.append(np.cumsum(np.square(singular)[::-1])[::-1], 0.0)
    left = np.square(y - fitted).sum()
    return tuple(float((left + one) / 2) for one in rest)


def guides(levels: Sequence[float], curves: Sequence[Curve]) -> tuple[Guide, ...]:
    """Lines at the levels that losses came near to, the lowest four of them.

    Args:
        levels: by rank, from 0.
        curves: losses in the same unit.
    """
    losses = [loss for loss in chain(*(one.y for one in curves)) if isfinite(loss)]
    if not losses:
        return ()
    near = [
        Guide(level, f"best map of rank {rank}")
        for rank, level in enumerate(levels)
        if level > 0 and 0.5 * min(losses) <= level <= max(losses)
    ]
    return tuple(near[-MOST_GUIDES:])
