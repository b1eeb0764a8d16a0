"""What the norms share that average the statistics of batches for eval mode.

Shape letters: N rows, C channels, * any positions (none, length, or height and width).
"""

from functools import partial

import torch
from torch import Tensor, nn

from model import spec
from model.norms.deviation import widened


class RunningNorm(nn.Module):
    """Parameters, running statistics and evaluation mode of a norm over the batch.

    Evaluation mode, whatever training mode does, for every channel:

        y = weight * (x - running_mean) / divisor + bias

    where the divisor is sqrt(spread + eps) if the running spread holds a variance, else
    spread + eps. A subclass normalizes a batch, and moves the running values with `_count`.

    Args:
        num_features: C.
        convention: momentum (share of the newest batch, PyTorch's sense), eps and affine; its
            placement is the network's concern.
        spread_name: of the buffer that holds the running spread.
        device, dtype: of parameters and buffers. Nothing is drawn at random.

    Shape:
        x: (N, C) or (N, C, *), floating point.
        returns: same shape and dtype as x.

    State:
        weight, bias: (C,), learned, start at 1 and 0; None without affine.
        running_mean and the running spread: (C,), saved, start at 0 and 1.
        num_batches_tracked: times that the running values have moved.
        by_batch: whether evaluation mode takes the statistics of the batch, moving nothing.
    """

    running_mean: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        num_features: int,
        convention: spec.OverBatch,
        spread_name: str,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.convention = convention
        self.spread_name = spread_name
        self.momentum, self.eps = convention.momentum, convention.eps
        self.by_batch = False  # see model.statistics.modes, which sets it for a while
        self.counted = 1  # times that the newest batch moved the running values
        # Not zeros_like: on the meta device it loads sympy, which takes a second.
        ones = partial(torch.ones, num_features, device=device, dtype=dtype)
        zeros = partial(torch.zeros, num_features, device=device, dtype=dtype)
        self.weight = nn.Parameter(ones()) if convention.affine else None
        self.bias = nn.Parameter(zeros()) if convention.affine else None
        self.register_buffer("running_mean", zeros())
        self.register_buffer(spread_name, ones())
        counter = torch.tensor(0, device=device, dtype=torch.long)
        self.register_buffer("num_batches_tracked", counter)

    @property
    def running_spread(self) -> Tensor:
        """What is averaged beside the mean, (C,)."""
        return self.get_buffer(self.spread_name)

    @property
    def holds_variance(self) -> bool:
        """Whether the running spread is a variance; else it is in the units of x."""
        return self.spread_name == "running_var"

    def divisor_of(self, spread: Tensor) -> Tensor:
        """What is divided by where the spread is this, as the buffer would hold it."""
        return (spread + self.eps).sqrt() if self.holds_variance else spread + self.eps

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

    @torch.no_grad()
    def _count(self, mean: Tensor, spread: Tensor) -> None:
        """Count one batch, and move the running values toward its own, (C,) each."""
        self.num_batches_tracked.add_(1)
        share: Tensor | float
        if self.momentum is None:
            share = self.num_batches_tracked.to(self.running_mean.dtype).reciprocal()
        else:
            share = self.momentum
        for running, new in ((self.running_mean, mean), (self.running_spread, spread)):
            running.lerp_(new.to(running.dtype), share)

    def _evaluate(self, x: Tensor) -> Tensor:
        divisor = self.divisor_of(self.running_spread)
        return self._affine(widened(x), self.running_mean, divisor).to(x.dtype)

    def _affine(
        self, x: Tensor, mean: Tensor, divisor: Tensor, shift: Tensor | None = None
    ) -> Tensor:
        """weight * ((x - mean) / divisor + shift) + bias, channel by channel."""
        along = (-1, *(1,) * (x.dim() - 2))
        centered = x - mean.view(along)
        if self.weight is None or self.bias is None:
            y = centered / divisor.view(along)
            return y if shift is None else y + shift.view(along)
        bias = self.bias if shift is None else self.bias + self.weight * shift
        return self.weight.view(along) * centered / divisor.view(along) + bias.view(along)


def is_recomputed() -> bool:
    """Whether this thread is in a backward pass, from where `torch.utils.checkpoint` comes here.

    Torch has no public word for it; its own sharding and module tracking ask the same.
    """
    return torch._C._current_graph_task_id() != -1
