"""Norms over the batch as torch has them: what is no variance becomes one, or is refused."""

from copy import deepcopy

import torch
from torch import nn

from model import spec
from model.errors import ExportRefused
from model.norms.batch import BatchNorm
from model.norms.running import RunningNorm

#: Added to the variance by `torch.nn.BatchNorm2d` that was not told otherwise.
TORCH_EPS = 1e-5
_WORDS = {"running_deviation": "running deviation", "running_scale": "running scale"}


def plain(network: nn.Module) -> nn.Module:
    """A copy in which every norm over the batch loads into torch's own and answers as before.

    A running deviation or l_p scale s divides by s + eps, torch by sqrt(v + 1e-5), so

        running_var = (s + eps)^2 - 1e-5

    computed in float64 and rounded once. Norms that hold a variance are as they were.

    Args:
        network: in eval mode; it is not changed.

    Raises:
        ExportRefused: a variance would be negative; names layer and channel.
    """
    copied = deepcopy(network)
    for name, norm in tuple(copied.named_modules()):
        if isinstance(norm, RunningNorm) and not norm.holds_variance:
            parent, _, key = name.rpartition(".")
            setattr(copied.get_submodule(parent), key, _with_variance(norm, name))
    return copied


def _with_variance(norm: RunningNorm, name: str) -> BatchNorm:
    variance = (norm.running_spread.double() + norm.eps) ** 2 - TORCH_EPS
    negative = torch.nonzero(variance < 0).flatten().tolist()
    if negative:
        raise ExportRefused(
            f"norm {name}, channel {negative[0]}: the square of its {_WORDS[norm.spread_name]} "
            f"is below torch's eps of {TORCH_EPS:g}, so no variance stands for it",
            norm=name,
            channel=negative[0],
            channels=len(negative),
        )
    affine = norm.weight is not None
    convention = spec.BatchNorm(kind="batch", eps=TORCH_EPS, affine=affine)
    spread = norm.running_spread
    made = BatchNorm(norm.num_features, convention, device=spread.device, dtype=spread.dtype)
    made.load_state_dict(
        {
            **{key: kept for key, kept in norm.state_dict().items() if key != norm.spread_name},
            made.spread_name: variance,
        }
    )
    return made.eval().requires_grad_(False)
