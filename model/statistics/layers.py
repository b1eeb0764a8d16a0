"""The running statistics of a network's norm layers, in network order, as float64.

It reads; what the numbers mean is said by its callers.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.norms.running import RunningNorm
from model.statistics.fingerprint import fingerprint
from model.statistics.modes import running_norms


@dataclass(frozen=True)
class NormState:
    """What one norm layer with running statistics knows of its channels, copied, on the CPU."""

    name: str  # state-dict prefix: "1", "4.branch.0"
    module: RunningNorm
    mean: Tensor  # (C,) float64
    spread: Tensor  # (C,) float64, as stored: variance, deviation or scale
    gain: Tensor | None  # (C,) float64; None without affine
    bias: Tensor | None  # (C,) float64; None without affine
    momentum: float | None  # share of the newest batch; None: cumulative average
    eps: float
    counter: int  # batches tracked

    @property
    def variance(self) -> Tensor:
        """Running variance (C,) float64; the square of a running deviation, or of an l_p scale."""
        return self.spread if self.module.holds_variance else self.spread.square()

    @property
    def is_initial(self) -> bool:
        """Whether mean and spread are exactly 0 and 1, as before the first batch."""
        return not bool(self.mean.any()) and bool((self.spread == 1).all())


def norm_states(network: nn.Module) -> tuple[NormState, ...]:
    """The state of every norm layer that has its running statistics, in network order.

    Layers whose buffers were taken away have no state: `untracked` names them. The network
    is not changed, and nothing returned shares its memory.
    """
    norms = running_norms(network).items()
    return tuple(_state(name, layer) for name, layer in norms if _is_tracked(layer))


def untracked(network: nn.Module) -> tuple[str, ...]:
    """Names of the norm layers that lack one of their running statistics."""
    return tuple(name for name, layer in running_norms(network).items() if not _is_tracked(layer))


def layer_fingerprint(name: str, layer: RunningNorm) -> str:
    """ "sha256:..." of one layer's running statistics as they are now, its name included."""
    return fingerprint(layer.state_dict(prefix=f"{name}."))


def _is_tracked(layer: RunningNorm) -> bool:
    held = dict(layer.named_buffers(recurse=False))
    return {"running_mean", layer.spread_name, "num_batches_tracked"} <= set(held)


def _state(name: str, layer: RunningNorm) -> NormState:
    return NormState(
        name,
        layer,
        _wide(layer.running_mean),
        _wide(layer.running_spread),
        None if layer.weight is None else _wide(layer.weight),
        None if layer.bias is None else _wide(layer.bias),
        layer.momentum,
        layer.eps,
        int(layer.num_batches_tracked),
    )


def _wide(values: Tensor) -> Tensor:
    return values.detach().to("cpu", torch.float64, copy=True)
