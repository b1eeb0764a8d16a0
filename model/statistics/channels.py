"""Which channels of a norm layer look wrong by themselves."""

import torch
from torch import Tensor

from model.statistics.layers import NormState

DEAD_RATIO = 1e-6  # of the layer's median variance, under which a channel carries nothing
HALF_LIMIT = torch.finfo(torch.float16).max  # 65,504
NEAR_ZERO = 1e-3  # of a gain, at which a channel's output is hardly more than its bias


def dead(state: NormState) -> Tensor:
    """(C,) bool: the running variance is 0 or below a millionth of the layer's median.

    Channels whose variance is negative or not finite are not dead but wrong.
    """
    variance = state.variance
    sound = variance.isfinite() & (state.spread >= 0)
    if not sound.any():
        return sound
    limit = DEAD_RATIO * variance[sound].quantile(0.5)
    return sound & ((variance < limit) | (variance == 0))


def beyond_half(state: NormState) -> dict[str, Tensor]:
    """By tensor, (C,) bool: the finite values that float16 cannot hold."""
    return {
        name: values.isfinite() & (values.abs() > HALF_LIMIT)
        for name, values in stored(state).items()
    }


def stored(state: NormState) -> dict[str, Tensor]:
    """The layer's tensors by their state-dict names, (C,) float64."""
    every = {
        "running_mean": state.mean,
        state.module.spread_name: state.spread,
        "weight": state.gain,
        "bias": state.bias,
    }
    return {name: values for name, values in every.items() if values is not None}


def gain_near_zero(state: NormState) -> Tensor:
    """(C,) bool: the gain is so small that the output hardly depends on the input."""
    if state.gain is None:
        return torch.zeros_like(state.mean, dtype=torch.bool)
    return state.gain.abs() < NEAR_ZERO


def indices(chosen: Tensor) -> list[int]:
    """Where a (C,) bool is true, lowest first."""
    found: list[int] = torch.nonzero(chosen).flatten().tolist()
    return found
