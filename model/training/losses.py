"""What training minimizes, and the targets in the form that it takes."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

LossKind = Literal["cross_entropy", "squared_error", "half_sum_squares"]
LossFunction = Callable[[Tensor, Tensor], Tensor]
SUMS: frozenset[LossKind] = frozenset({"half_sum_squares"})  # the others are means over rows


def loss_function(kind: LossKind) -> LossFunction:
    """A function of outputs (rows, outputs) and what `targets_for` made, to one number.

    cross_entropy:    mean over rows of -log softmax(outputs)[class]
    squared_error:    mean over rows and outputs of (output - target)^2
    half_sum_squares: sum over rows and outputs of (output - target)^2 / 2
    """
    functions: dict[LossKind, LossFunction] = {
        "cross_entropy": F.cross_entropy,
        "squared_error": F.mse_loss,
        "half_sum_squares": _half_sum_squares,
    }
    return functions[kind]


def targets_for(kind: LossKind, targets: Tensor, outputs: int, dtype: torch.dtype) -> Tensor:
    """Targets of a whole dataset as the loss reads them, computed once and not per step.

    Args:
        targets: (rows,) int64 classes, or (rows, outputs) numbers.
        dtype: of the network.

    Returns:
        The classes as they are for cross_entropy; else (rows, outputs) in `dtype`, classes
        as one-hot rows.
    """
    if kind == "cross_entropy":
        return targets
    if targets.is_floating_point():
        return targets.to(dtype)
    return F.one_hot(targets, outputs).to(dtype)


def _half_sum_squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().sum() / 2
