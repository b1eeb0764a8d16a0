"""Batch normalization of parts of a batch, each by itself."""

import torch
from torch import Tensor

from model import spec
from model.norms.batch import BatchNorm


class GhostBatchNorm(BatchNorm):
    """Batch norm that takes a large batch for several small ones.

    Training mode cuts the batch, in its order, into groups of `group_size` rows; what is left
    over is one more group, unless it gives a channel a single value: then it joins the group
    before it, for whoever looks at a network with other rows (a run of such batches is refused).
    Each group g is normalized by itself and moves the running values in its turn, so that k
    groups are k successive batches of `BatchNorm`:

        y_g          = weight * (x_g - mean_g) / sqrt(var_g + eps) + bias
        running_mean <- (1 - momentum) * running_mean + momentum * mean_g        g = 1 .. k

    and the same for the running spread. A batch of at most `group_size` rows is one group, and
    the layer is then `BatchNorm` to the bit.

    Evaluation mode is that of `BatchNorm`. With `by_batch` there are no groups: the statistics
    are those of all rows together.

    Args:
        num_features: C.
        convention: that of `BatchNorm` (momentum is the share of the newest group), and
            group_size.
        device, dtype: of parameters and buffers. Nothing is drawn at random.

    Shape:
        x: (N, C) or (N, C, *), floating point. Half precision is summed in float32.
        returns: same shape and dtype as x.

    State:
        that of `BatchNorm`, under the same names; num_batches_tracked counts groups.

    Raises:
        ValueError: as `BatchNorm` does, and where each group would give a channel one value,
            before anything moves.
        DeviationZero: eps is 0 and a channel is constant over a group; the groups before it
            have moved the running values.

    Hoffer, Hubara and Soudry 2017, algorithm 1: https://arxiv.org/abs/1705.08741
    """

    convention: spec.GhostBatchNorm

    def __init__(
        self,
        num_features: int,
        convention: spec.GhostBatchNorm,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, convention, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; in training mode group by group."""
        if not self.training or len(x) <= self.convention.group_size:
            self.counted = 1
            return super().forward(x)
        self._refuse_shape(x)
        groups = x.split(self._sizes(len(x), has_positions=x[0].numel() > self.num_features))
        self.counted = len(groups)
        return torch.cat([super(GhostBatchNorm, self).forward(group) for group in groups])

    def _sizes(self, rows: int, has_positions: bool) -> list[int]:
        """Rows of each group."""
        size = self.convention.group_size
        if size == 1 and not has_positions:
            raise ValueError(
                "training mode needs at least 2 values per channel in a group, got groups of 1 row"
            )
        full, rest = divmod(rows, size)
        if rest == 1 and not has_positions:
            return [size] * (full - 1) + [size + 1]
        return [size] * full + [rest] * (rest > 0)

    def extra_repr(self) -> str:
        """C, the convention and the groups, for printing a network."""
        return f"{super().extra_repr()}, group_size={self.convention.group_size}"
