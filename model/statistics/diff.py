"""How far apart the running statistics of two networks are, layer by layer, as plain values."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from model.errors import ShapeMismatch
from model.statistics.layers import NormState, norm_states


def difference(first: nn.Module, second: nn.Module) -> dict[str, Any]:
    """Compare the layers that both networks have, and name the others.

    Per channel between N(a, v) and N(b, w), eps added to both variances:

        symmetric KL = (KL(p || q) + KL(q || p)) / 2
                     = ((v - w)^2 / (v w) + (a - b)^2 (1/v + 1/w)) / 4
        z            = |a - b| / sqrt(v)

    Returns:
        `layers`, a row for each common layer in the first's order, and the names under
        `only_first` and `only_second`. A number that is not finite is null, its word beside.

    Raises:
        ShapeMismatch: a common layer has another number of channels.
    """
    ours = {state.name: state for state in norm_states(first)}
    theirs = {state.name: state for state in norm_states(second)}
    return {
        "layers": [_row(state, theirs[name]) for name, state in ours.items() if name in theirs],
        "only_first": [name for name in ours if name not in theirs],
        "only_second": [name for name in theirs if name not in ours],
    }


def _row(one: NormState, other: NormState) -> dict[str, Any]:
    sizes = len(one.mean), len(other.mean)
    if sizes[0] != sizes[1]:
        message = (
            f"layer {one.name} has {sizes[0]} channels in one network, {sizes[1]} in the other"
        )
        raise ShapeMismatch(message, layer=one.name, channels=list(sizes))
    moved = one.mean - other.mean
    v, w = one.variance + one.eps, other.variance + other.eps
    kl = _where_moved(
        ((v - w).square() / (v * w) + moved.square() * (1 / v + 1 / w)) / 4, one, other
    )
    z = _where_moved(moved.abs() / v.sqrt(), one, other)
    numbers = {
        "kl_mean": float(kl.mean()),
        "kl_max": float(kl.max()),
        "mean_cosine": _cosine(one.mean, other.mean),
        "variance_cosine": _cosine(one.variance, other.variance),
        "largest_z": float(z.max()),
    }
    return {
        "layer": one.name,
        "channels": sizes[0],
        "z_channel": int(z.argmax()),
        **_plain(numbers),
    }


def _where_moved(values: Tensor, one: NormState, other: NormState) -> Tensor:
    """Exactly 0 for equal channels, also where a division by 0 says otherwise."""
    same = (one.mean == other.mean) & (one.variance + one.eps == other.variance + other.eps)
    return values.masked_fill(same, 0)


def _cosine(a: Tensor, b: Tensor) -> float:
    """1 for equal vectors, also for two of zeros; nan where one alone is of zeros."""
    return 1.0 if torch.equal(a, b) else float((a @ b) / (a.norm() * b.norm()))


def _plain(numbers: Mapping[str, float]) -> dict[str, Any]:
    odd = {name: str(value) for name, value in numbers.items() if not isfinite(value)}
    plain: dict[str, Any] = {name: None if name in odd else numbers[name] for name in numbers}
    return {**plain, "not_finite": odd} if odd else plain
