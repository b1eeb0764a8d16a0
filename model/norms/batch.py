"""Batch normalization with every convention named.

Shape letters: N rows, C channels, * any positions (none, length, or height and width);
n = N times positions, the values that a channel has in one batch.
"""

from functools import partial
from math import sqrt

import torch
from torch import Tensor, nn

from model import spec
from model.norms.deviation import refuse_zero, widened


class BatchNorm(nn.Module):
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

    running_mean: Tensor
    running_var: Tensor  # with running: variance alone
    num_batches_tracked: Tensor

    def __init__(
        self,
        num_features: int,
        convention: spec.BatchNorm,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.convention = convention
        self.momentum, self.eps = convention.momentum, convention.eps
        self.by_batch = False  # see model.statistics.modes, which sets it for a while
        affine = convention.affine
        # Not zeros_like: on the meta device it loads sympy, which takes a second.
        ones = partial(torch.ones, num_features, device=device, dtype=dtype)
        zeros = partial(torch.zeros, num_features, device=device, dtype=dtype)
        self.weight = nn.Parameter(ones()) if affine else None
        self.bias = nn.Parameter(zeros()) if affine else None
        self.register_buffer("running_mean", zeros())
        self.register_buffer(self.spread_name, ones())
        counter = torch.tensor(0, device=device, dtype=torch.long)
        self.register_buffer("num_batches_tracked", counter)
        # torch's kernel has one convention for training, and wants an eps to divide safely.
        self._evaluates_in_kernel = convention.running == "variance" and convention.eps > 0
        self._trains_in_kernel = self._evaluates_in_kernel and convention.normalize == "biased"

    @property
    def spread_name(self) -> str:
        """The buffer that holds the running spread."""
        deviation = self.convention.running == "deviation"
        return "running_deviation" if deviation else "running_var"

    @property
    def running_spread(self) -> Tensor:
        """Running variance or deviation, (C,)."""
        return self.get_buffer(self.spread_name)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; in training mode also move the running values."""
        self._refuse_shape(x)
        if not self.training and not self.by_batch:
            return self._evaluate(x)
        moves = self.training and not _is_recomputed()
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

    def _refuse_shape(self, x: Tensor) -> None:
        shape = x.shape
        if len(shape) < 2:
            raise ValueError(f"expected input of shape (N, C) or (N, C, *), got {tuple(shape)}")
        if shape[1] != self.num_features:
            raise ValueError(
                f"expected {self.num_features} channels, got {shape[1]} "
                f"in input of shape {tuple(shape)}"
            )
        if x.numel() < 2 * self.num_features and (self.training or self.by_batch):
            what = "training mode needs" if self.training else "batch statistics need"
            raise ValueError(
                f"{what} at least 2 values per channel, "
                f"got {x.numel() // self.num_features} in input of shape {tuple(shape)}"
            )

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
        axes = [0, *range(2, x.dim())]
        n = x.numel() // self.num_features
        shrink = (n - 1) / n if self.convention.normalize == "biased" else 1.0
        if self.convention.running == "deviation":
            # std, not the root of var: torch gives it the gradient 0, not NaN, at 0.
            spread, mean = torch.std_mean(wide, axes, correction=1)
            divisor = spread * sqrt(shrink) + self.eps
        else:
            spread, mean = torch.var_mean(wide, axes, correction=1)
            divisor = (spread * shrink + self.eps).sqrt()
        if self.eps == 0:
            refuse_zero(spread, "channel")
        if moves:
            self.num_batches_tracked.add_(1)
            self._track(mean.detach(), spread.detach())
        return self._affine(wide, mean, divisor).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, spread: Tensor) -> None:
        """Move the running values toward one batch's; the counter includes that batch."""
        share: Tensor | float
        if self.momentum is None:
            share = self.num_batches_tracked.to(self.running_mean.dtype).reciprocal()
        else:
            share = self.momentum
        for running, new in ((self.running_mean, mean), (self.running_spread, spread)):
            running.lerp_(new.to(running.dtype), share)

    def _evaluate(self, x: Tensor) -> Tensor:
        if self._evaluates_in_kernel:
            return self._kernel(x, self.running_mean, self.running_var, False, 0.0)
        if self.convention.running == "deviation":
            divisor = self.running_spread + self.eps
        else:
            divisor = (self.running_spread + self.eps).sqrt()
        return self._affine(widened(x), self.running_mean, divisor).to(x.dtype)

    def _affine(self, x: Tensor, mean: Tensor, divisor: Tensor) -> Tensor:
        along = (-1, *(1,) * (x.dim() - 2))
        centered = x - mean.view(along)
        if self.weight is None or self.bias is None:
            return centered / divisor.view(along)
        return self.weight.view(along) * centered / divisor.view(along) + self.bias.view(along)

    def extra_repr(self) -> str:
        """C and the convention, for printing a network."""
        fields = ("momentum", "eps", "affine", "running", "normalize")
        return ", ".join(
            (str(self.num_features), *(f"{f}={getattr(self.convention, f)}" for f in fields))
        )


def _is_recomputed() -> bool:
    """Whether this thread is in a backward pass, from where `torch.utils.checkpoint` comes here.

    Torch has no public word for it; its own sharding and module tracking ask the same.
    """
    return torch._C._current_graph_task_id() != -1
