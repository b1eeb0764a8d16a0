"""Layer normalization: every row by its own mean and spread, so no running statistics."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import spec
from model.norms.deviation import refuse_zero, widened


class LayerNorm(nn.Module):
    """Center and scale each row over all its values, the same in training and evaluation.

        mean = sum(x) / m
        var  = sum((x - mean)^2) / m
        y    = weight * (x - mean) / sqrt(var + eps) + bias

    m is the number of values of one row: features, or channels times height times width.
    The state dict is that of `torch.nn.LayerNorm(shape)`.

    Args:
        shape: of one row.
        convention: eps and affine; its placement is the network's concern.
        device, dtype: of the parameters. Nothing is drawn at random.

    Shape:
        x: (N, *shape), floating point. Half precision is summed in float32.
        returns: same shape as x.

    State:
        weight, bias: shape, learned, start at 1 and 0; None without affine.

    Raises:
        ValueError: the rows of x have another shape.
        DeviationZero: eps is 0 and a row is constant, in training mode. In evaluation mode
            that row alone is NaN: its neighbours get their answers.

    Ba, Kiros and Hinton 2016: https://arxiv.org/abs/1607.06450
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        convention: spec.LayerNorm,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.shape, self.eps = shape, convention.eps
        ones = torch.ones(shape, device=device, dtype=dtype)
        zeros = torch.zeros(shape, device=device, dtype=dtype)
        self.weight = nn.Parameter(ones) if convention.affine else None
        self.bias = nn.Parameter(zeros) if convention.affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalize every row of x."""
        if x.shape[1:] != self.shape:
            raise ValueError(f"expected rows of shape {self.shape}, got {tuple(x.shape[1:])}")
        if self.eps == 0 and self.training:
            refuse_zero(widened(x).flatten(1).var(1, correction=0), "row")
        return F.layer_norm(x, self.shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Shape and eps, for printing a network."""
        return f"{self.shape}, eps={self.eps}, affine={self.weight is not None}"
