"""Batch normalization with every convention named.

Shape letters: N rows, C channels, * any positions (none, length, or height and width);
n = N times positions, the values that a channel has in one batch.
"""

from math import sqrt

import torch
from torch import Tensor

from model import spec
from model.norms.deviation import refuse_zero, widened
from model.norms.running import RunningNorm, is_recomputed


class BatchNorm(RunningNorm):
    """Center and scale each channel, then let the network choose its own mean and spread.

    Training mode, for every channel over its n values:

        mean = sum(x) / n
        var  = sum((x - mean)^2) / n             normalize: biased
        var  = sum((x - mean)^2) / (n - 1)       normalize: unbiased
        y    = weight * (x - mean) / sqrt(var + eps) + bias

        running_mean <- (1 - momentum) * running_mean + momentum * mean
        running_var  <- (1 - momentum) * running_var  + momentum * sum((x - mean)^2) / (n - 1)

    With `running: deviation` the divisor is sqrt(var) + eps, and sqrt of the variance over
    n - 1 is averaged into `running_deviation`, which has no `running_var` beside it: a strict
    load must never read a deviation as a variance. With momentum None the share of the newest
    batch is 1 / num_batches_tracked, so that the running values are plain averages.

    A batch is counted once. Inside a backward pass, where activation checkpointing
    (`torch.utils.checkpoint`) computes again what it did not keep, training mode gives the
    bits that it gave before and moves nothing.

    Evaluation mode puts the running values in place of the batch's and moves nothing, so a
    row gets the same answer alone or in company, up to rounding. With `by_batch` set it gives
    training mode's answer instead, still moving nothing: what a probe compares with.

    Args:
        num_features: C.
        convention: momentum (share of the newest batch, PyTorch's sense), eps, affine,
            running and normalize; its placement is the network's concern.
        device, dtype: of parameters and buffers. Nothing is drawn at random.

    Shape:
        x: (N, C) or (N, C, *), floating point. Half precision is summed in float32.
        returns: same shape and dtype as x.

    State:
        weight, bias: (C,), learned, start at 1 and 0; None without affine.
        running_mean, and running_var or running_deviation: (C,), saved, start at 0 and 1.
        num_batches_tracked: batches seen in training mode.

    Raises:
        ValueError: x has no channel axis, its C differs, or n is below 2 where the batch's own
            statistics are taken: in training mode or with `by_batch`.
        DeviationZero: eps is 0 and a channel is constant over the batch, there too.

    Ioffe and Szegedy 2015, algorithms 1 and 2: https://arxiv.org/abs/1502.03167
    """

    convention: spec.BatchStatistics
    running_var: Tensor  # with running: variance alone

    def __init__(
        self,
        num_features: int,
        convention: spec.BatchStatistics,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        deviation = convention.running == "deviation"
        name = "running_deviation" if deviation else "running_var"
        super().__init__(num_features, convention, name, device=device, dtype=dtype)
        # torch's kernel has one convention for training, and wants an eps to divide safely.
        self._evaluates_in_kernel = not deviation and convention.eps > 0
        self._trains_in_kernel = self._evaluates_in_kernel and convention.normalize == "biased"

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; in training mode also move the running values."""
        self._refuse_shape(x)
        if not self.training and not self.by_batch:
            return self._evaluate(x)
        moves = self.training and not is_recomputed()
        momentum = self.momentum
        # The kernel's momentum is a Python number. On a GPU, 1 / num_batches_tracked would
        # have to wait for the device to become one; the formulas need not.
        if not self._trains_in_kernel or (momentum is None and x.device.type != "cpu"):
            return self._train(x, moves)
        if not moves:
            # The kernel moves what it is given. Without any it may sum in another precision.
            return self._kernel(x, self.running_mean.clone(), self.running_var.clone(), True, 0.0)
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked.item() if momentum is None else momentum
        return self._kernel(x, self.running_mean, self.running_var, True, share)

    def _kernel(self, x: Tensor, mean: Tensor, var: Tensor, by_batch: bool, share: float) -> Tensor:
        return torch.batch_norm(
            x,
            self.weight,
            self.bias,
            mean,
            var,
            by_batch,
            share,
            self.eps,
            torch.backends.cudnn.enabled,
        )

    def _train(self, x: Tensor, moves: bool) -> Tensor:
        """The formulas themselves, for conventions that torch's kernel does not have."""
        wide = widened(x)
        mean, spread, divisor = self._measured(wide)
        if moves:
            self._count(mean.detach(), spread.detach())
        return self._affine(wide, mean, divisor).to(x.dtype)

    def _measured(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A batch's mean, its spread as it is averaged, and what it is divided by, (C,) each."""
        axes = [0, *range(2, x.dim())]
        n = x.numel() // self.num_features
        shrink = (n - 1) / n if self.convention.normalize == "biased" else 1.0
        if self.holds_variance:
            spread, mean = torch.var_mean(x, axes, correction=1)
        else:
            # std, not the root of var: torch gives it the gradient 0, not NaN, at 0.
            spread, mean = torch.std_mean(x, axes, correction=1)
            shrink = sqrt(shrink)
        if self.eps == 0:
            refuse_zero(spread, "channel")
        return mean, spread, self.divisor_of(spread * shrink)

    def _evaluate(self, x: Tensor) -> Tensor:
        if self._evaluates_in_kernel:
            return self._kernel(x, self.running_mean, self.running_var, False, 0.0)
        return super()._evaluate(x)

    def extra_repr(self) -> str:
        """C and the convention, for printing a network."""
        fields = ("momentum", "eps", "affine", "running", "normalize")
        return ", ".join(
            (str(self.num_features), *(f"{f}={getattr(self.convention, f)}" for f in fields))
        )
