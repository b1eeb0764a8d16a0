"""Batch normalization by another norm than the l_2 norm of what is centered.

Shape letters: N rows, C channels, * any positions (none, length, or height and width);
n = N times positions, the values that a channel has in one batch.
"""

import torch
from torch import Tensor

from model import spec
from model.norms.deviation import refuse_zero, widened
from model.norms.running import RunningNorm, is_recomputed


class LpNorm(RunningNorm):
    """Center each channel, and divide it by the average l_p norm that it had before.

    Training mode, for every channel over its n values:

        mean  = sum(x) / n
        scale = sum(|x|) / n                p: 1
        scale = sqrt(sum(x^2) / n)          p: 2
        scale = max(|x|)                    p: inf
        y     = weight * (x - mean) / (scale + eps) + bias

        running_mean  <- (1 - momentum) * running_mean  + momentum * mean
        running_scale <- (1 - momentum) * running_scale + momentum * scale

    The scale is of x as it comes, not of x - mean: a channel far from 0 leaves with a small
    spread. Only for p = 2 and a mean of 0 is this batch norm with the biased deviation.

    Evaluation mode puts the running values in place of the batch's and moves nothing. With
    `by_batch` set it gives training mode's answer instead, still moving nothing. Inside a
    backward pass (activation checkpointing) training mode gives the same bits again and moves
    nothing. A largest value that several share has its gradient shared among them.

    Args:
        num_features: C.
        convention: p, momentum (share of the newest batch, PyTorch's sense; None is the
            cumulative average), eps and affine; its placement is the network's concern.
        device, dtype: of parameters and buffers. Nothing is drawn at random.

    Shape:
        x: (N, C) or (N, C, *), floating point. Half precision is summed in float32.
        returns: same shape and dtype as x.

    State:
        weight, bias: (C,), learned, start at 1 and 0; None without affine.
        running_mean, running_scale: (C,), saved, start at 0 and 1.
        num_batches_tracked: batches seen in training mode.

    Raises:
        ValueError: x has no channel axis, its C differs, or n is below 2 where the batch's own
            statistics are taken: in training mode or with `by_batch`.
        DeviationZero: eps is 0 and a channel is 0 in the whole batch, there too.

    Santurkar et al. 2018, section 3.3: https://arxiv.org/abs/1805.11604
    """

    convention: spec.LpNorm
    running_scale: Tensor

    def __init__(
        self,
        num_features: int,
        convention: spec.LpNorm,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, convention, "running_scale", device=device, dtype=dtype)
        self.order = float(convention.p)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; in training mode also move the running values."""
        self._refuse_shape(x)
        if not self.training and not self.by_batch:
            return self._evaluate(x)
        wide = widened(x)
        mean, scale = self._measured(wide)
        if self.training and not is_recomputed():
            self._count(mean.detach(), scale.detach())
        return self._affine(wide, mean, self.divisor_of(scale)).to(x.dtype)

    def _measured(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A batch's mean and scale, (C,) each."""
        axes = [0, *range(2, x.dim())]
        n = x.numel() // self.num_features
        # torch's own norm has the gradient 0, not NaN, where a channel is 0 everywhere.
        scale = torch.linalg.vector_norm(x, self.order, axes) / n ** (1 / self.order)
        if self.eps == 0:
            refuse_zero(scale, "channel", "0 in the whole batch")
        return x.mean(axes), scale

    def extra_repr(self) -> str:
        """C and the convention, for printing a network."""
        fields = ("p", "momentum", "eps", "affine")
        return ", ".join(
            (str(self.num_features), *(f"{f}={getattr(self.convention, f)}" for f in fields))
        )
