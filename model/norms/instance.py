"""Instance normalization: each channel of each row by itself, so no running statistics."""

import torch
from torch import Tensor

from model import spec
from model.norms.group import GroupNorm


class InstanceNorm(GroupNorm):
    """Center and scale each channel of each row over its positions, alike in both modes.

        mean = sum(x) / m
        var  = sum((x - mean)^2) / m
        y    = weight * (x - mean) / sqrt(var + eps) + bias

    m is the number of positions, height times width of an image; weight and bias are per
    channel. It is group norm with as many groups as channels. The state dict is that of
    `torch.nn.InstanceNorm2d(C, affine=True)`, whose own default is to have neither.

    Args:
        num_channels: C.
        convention: eps and affine; its placement is the network's concern.
        device, dtype: of the parameters. Nothing is drawn at random.

    Shape:
        x: (N, C, *) with at least 2 positions, floating point. Half precision is summed in
            float32.
        returns: same shape as x.

    State:
        weight, bias: (C,), learned, start at 1 and 0; None without affine.

    Raises:
        ValueError: x has another C, or a single position: y would be the bias whatever x is.
        DeviationZero: eps is 0 and a channel of a row is constant, in training mode. In
            evaluation mode that channel alone is NaN.

    Ulyanov, Vedaldi and Lempitsky 2016: https://arxiv.org/abs/1607.08022
    """

    def __init__(
        self,
        num_channels: int,
        convention: spec.InstanceNorm,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        # Built past validation: channels may be more than the groups that a spec may ask for.
        groups = spec.GroupNorm.model_construct(
            kind="group", groups=num_channels, eps=convention.eps, affine=convention.affine
        )
        super().__init__(num_channels, groups, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize every channel of every row of x."""
        if x.dim() < 3 or x.shape[2:].numel() < 2:
            raise ValueError(
                f"expected at least 2 positions per channel, got input of shape {tuple(x.shape)}"
            )
        return super().forward(x)

    def extra_repr(self) -> str:
        """Channels and eps, for printing a network."""
        return f"{self.num_channels}, eps={self.eps}, affine={self.weight is not None}"
