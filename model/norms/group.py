"""Group normalization: each row by groups of its channels, so no running statistics."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import spec
from model.norms.deviation import refuse_zero, widened


class GroupNorm(nn.Module):
    """Center and scale each group of channels of each row, alike in training and evaluation.

        mean = sum(x) / m
        var  = sum((x - mean)^2) / m
        y    = weight * (x - mean) / sqrt(var + eps) + bias

    m is the number of values of one group: C / groups channels times their positions; weight
    and bias are per channel. The state dict is that of `torch.nn.GroupNorm`.

    Args:
        num_channels: C.
        convention: groups, which divide C, eps and affine.
        device, dtype: of the parameters. Nothing is drawn at random.

    Shape:
        x: (N, C) or (N, C, *), floating point. Half precision is summed in float32.
        returns: same shape as x.

    State:
        weight, bias: (C,), learned, start at 1 and 0; None without affine.

    Raises:
        ValueError: the groups do not divide C, or x has another C.
        DeviationZero: eps is 0 and a group is constant, in training mode. In evaluation mode
            that group alone is NaN: other rows get their answers.

    Wu and He 2018: https://arxiv.org/abs/1803.08494
    """

    def __init__(
        self,
        num_channels: int,
        convention: spec.GroupNorm,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if num_channels % convention.groups:
            raise ValueError(f"{convention.groups} groups do not divide {num_channels} channels")
        self.num_channels = num_channels
        self.groups, self.eps = convention.groups, convention.eps
        ones = torch.ones(num_channels, device=device, dtype=dtype)
        zeros = torch.zeros(num_channels, device=device, dtype=dtype)
        self.weight = nn.Parameter(ones) if convention.affine else None
        self.bias = nn.Parameter(zeros) if convention.affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalize every group of every row of x."""
        if x.dim() < 2 or x.shape[1] != self.num_channels:
            raise ValueError(
                f"expected {self.num_channels} channels in axis 1, "
                f"got input of shape {tuple(x.shape)}"
            )
        if self.eps == 0 and self.training:
            spread = widened(x).reshape(len(x), self.groups, -1).var(2, correction=0)
            refuse_zero(spread.amin(0), "group")
        return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Channels, groups and eps, for printing a network."""
        affine = self.weight is not None
        return f"{self.num_channels}, groups={self.groups}, eps={self.eps}, affine={affine}"
