"""Batch normalization whose training mode is corrected towards evaluation mode."""

import torch
from torch import Tensor

from model import spec
from model.norms.batch import BatchNorm
from model.norms.deviation import widened


class BatchRenorm(BatchNorm):
    """Batch norm that gives a row, while training, nearly the answer that evaluation mode would.

    Training mode, with mean and divisor of the batch as `BatchNorm` has them, and the running
    values as they were before this batch:

        sigma = sqrt(running_var + eps)          (running: deviation: running_deviation + eps)
        r = divisor / sigma,                       kept within 1 / r_t and r_t
        d = (mean - running_mean) / sigma,         kept within -d_t and d_t
        y = weight * ((x - mean) / divisor * r + d) + bias

    r and d are constants to autograd: gradients flow through mean and divisor alone. While
    neither meets its bound, y is what evaluation mode gives with these running values. With
    r = 1 and d = 0 the layer is `BatchNorm`. The bounds grow with t, the batches counted before:

        r_t = 1 + (r_max - 1) * (t - warmup_batches) / r_ramp_batches,  kept within 1 and r_max
        d_t =          d_max  * (t - warmup_batches) / d_ramp_batches,  kept within 0 and d_max

    and a ramp of 0 batches is a jump at t = warmup_batches. Then the running values move as
    those of `BatchNorm`. The paper averages sqrt(var + eps) with the share 0.01; here what is
    averaged, and with which share, is a convention as for `BatchNorm`.

    Evaluation mode is that of `BatchNorm`. With `by_batch` r is 1 and d is 0.

    Args:
        num_features: C.
        convention: that of `BatchNorm` (momentum is the share of the newest batch), the bounds
            and their schedule.
        device, dtype: of parameters and buffers. Nothing is drawn at random.

    Shape:
        x: (N, C) or (N, C, *), floating point. Half precision is summed in float32.
        returns: same shape and dtype as x.

    State:
        that of `BatchNorm`, under the same names; num_batches_tracked is t.

    Raises:
        ValueError, DeviationZero: as `BatchNorm` does.
        RuntimeError: training mode inside a backward pass, as by activation checkpointing: the
            running values that r and d came from have moved.

    Ioffe 2017, algorithm 1: https://arxiv.org/abs/1702.03275
    """

    convention: spec.BatchRenorm

    def __init__(
        self,
        num_features: int,
        convention: spec.BatchRenorm,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, convention, device=device, dtype=dtype)
        self._trains_in_kernel = False  # torch's has neither r nor d

    def _train(self, x: Tensor, moves: bool) -> Tensor:
        if not self.training:
            return super()._train(x, moves)
        if not moves:
            raise RuntimeError("batch renorm cannot compute a batch again that it has counted")
        wide = widened(x)
        mean, spread, divisor = self._measured(wide)
        r, d = self._corrections(mean.detach(), divisor.detach())
        self._count(mean.detach(), spread.detach())
        return self._affine(wide, mean, divisor / r, d).to(x.dtype)

    def _corrections(self, mean: Tensor, divisor: Tensor) -> tuple[Tensor, Tensor]:
        """r and d against the running values as they are, (C,) each."""
        most_r, most_d = self._bounds()
        sigma = self.divisor_of(self.running_spread.to(mean.dtype))
        r = (divisor / sigma).clamp(1 / most_r, most_r)
        d = ((mean - self.running_mean) / sigma).clamp(-most_d, most_d)
        return r, d

    def _bounds(self) -> tuple[Tensor, Tensor]:
        """r_t and d_t, float64, on the layer's device, which nobody has to wait for."""
        asked = self.convention
        since = self.num_batches_tracked - asked.warmup_batches
        most_r = 1 + (asked.r_max - 1) * _ramp(since, asked.r_ramp_batches)
        return most_r, asked.d_max * _ramp(since, asked.d_ramp_batches)

    def extra_repr(self) -> str:
        """C, the convention and the schedule, for printing a network."""
        fields = ("r_max", "d_max", "warmup_batches", "r_ramp_batches", "d_ramp_batches")
        told = (f"{field}={getattr(self.convention, field)}" for field in fields)
        return ", ".join((super().extra_repr(), *told))


def _ramp(since: Tensor, batches: int) -> Tensor:
    """0 before the ramp begins, 1 behind it, a line between."""
    jump = int(batches == 0)  # to 1 at once, at since = 0
    return ((since.double() + jump) / max(batches, 1)).clamp(0, 1)
