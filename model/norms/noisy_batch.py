"""Batch normalization with noise behind it."""

import torch
from torch import Tensor

from model import spec
from model.norms.batch import BatchNorm
from model.norms.noise import described, noised


class NoisyBatchNorm(BatchNorm):
    """Batch norm whose training mode shifts and scales every value at random afterwards.

    Training mode:

        a = weight * (x - mean) / sqrt(var + eps) + bias        as `BatchNorm` computes it
        y = s * a + m                                           as `noised` draws them

    The noise has another mean and scale at every step, so the distribution that the next layer
    meets moves all the time, which batch norm is said to prevent. Statistics are of x, which
    has no noise of this layer; of the layers before it, it has.

    Evaluation mode is that of `BatchNorm` and without noise, also with `by_batch`.

    Args:
        num_features: C.
        convention: that of `BatchNorm` (momentum is the share of the newest batch), and the
            sizes of the noise.
        device, dtype: of parameters and buffers. Building draws nothing at random.

    Shape:
        x: (N, C) or (N, C, *), floating point. Half precision is summed in float32.
        returns: same shape and dtype as x.

    State:
        that of `BatchNorm`, under the same names. Noise comes from torch's global generators, as
        that of dropout, so activation checkpointing needs its `preserve_rng_state`.

    Raises:
        ValueError, DeviationZero: as `BatchNorm` does.

    Santurkar et al. 2018, section 2.1: https://arxiv.org/abs/1805.11604
    """

    convention: spec.NoisyBatchNorm

    def __init__(
        self,
        num_features: int,
        convention: spec.NoisyBatchNorm,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, convention, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x; in training mode also add the noise and move the running values."""
        y = super().forward(x)
        return noised(y, self.convention) if self.training else y

    def extra_repr(self) -> str:
        """C, the convention and the noise, for printing a network."""
        return f"{super().extra_repr()}, {described(self.convention)}"
