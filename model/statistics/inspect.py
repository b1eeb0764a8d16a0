"""What a checkpoint's norm layers hold, as JSON-ready values."""

from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from model.norms.lag import trustworthy_step, window
from model.spec import BatchStatistics
from model.statistics.channels import beyond_half, dead, gain_near_zero, indices
from model.statistics.evidence import Evidence
from model.statistics.layers import NormState, layer_fingerprint, norm_states

RUNNING = {
    "running_var": "variance",
    "running_deviation": "deviation",
    "running_scale": "scale",
}
QUANTILES = {"p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95}


def inspect(
    network: nn.Module,
    *,
    layer: str | None = None,
    values: bool = False,
    known: Evidence | None = None,
) -> list[dict[str, Any]]:
    """Facts of every norm layer with running statistics, in network order.

    Args:
        layer: name of the only layer to tell of.
        values: also the vectors, one number per channel.
        known: what counters do not tell.

    Raises:
        ValueError: the network has no such layer.
    """
    known = known or Evidence()
    chosen = [state for state in norm_states(network) if layer in (None, state.name)]
    if layer is not None and not chosen:
        raise ValueError("the network has no norm layer of that name with running statistics")
    return [facts(state, values, known) for state in chosen]


def facts(state: NormState, values: bool, known: Evidence) -> dict[str, Any]:
    """One layer's facts. What hangs on the counter is null where the age is unknown."""
    age = known.age(state.name, state.counter)
    convention = state.module.convention
    # Statistics that were computed from rows average over all of them.
    averaged = state.momentum if known.initial_share is None else None
    told = {
        "layer": state.name,
        "kind": convention.kind,
        "channels": len(state.mean),
        "momentum": state.momentum,
        "eps": state.eps,
        "affine": state.gain is not None,
        "running": RUNNING[state.module.spread_name],
        "normalize": convention.normalize if isinstance(convention, BatchStatistics) else None,
        "batches_tracked": age,
        "share_of_initial": known.share(state.name, state.momentum, state.counter),
        "window_batches": None if age is None else window(averaged, age),
        "trustworthy_step": trustworthy_step(state.momentum),
        "is_initial": state.is_initial,
        "fits_float16": not any(bool(one.any()) for one in beyond_half(state).values()),
        "dead_channels": indices(dead(state)),
        "gain_near_zero": indices(gain_near_zero(state)),
        "fingerprint": layer_fingerprint(state.name, state.module),
        **{name: summary(one) for name, one in _vectors(state).items()},
    }
    return {**told, "values": vectors(_vectors(state))} if values else told


def summary(values: Tensor | None) -> dict[str, Any] | None:
    """Least, greatest, mean and quantiles of the finite values; null where there are none.

    Args:
        values: (C,) float64, or None for a vector that the layer does not have.

    Returns:
        `finite` counts the values that count; `not_finite` those of each other kind, where
        there are any. Quantiles are interpolated linearly.
    """
    if values is None:
        return None
    finite = values[values.isfinite()]
    told: dict[str, Any] = {"finite": len(finite)}
    if len(finite) < len(values):
        words = [_word(value) for value in values[~values.isfinite()].tolist()]
        told["not_finite"] = {word: words.count(word) for word in sorted(set(words))}
    if not len(finite):
        return told | dict.fromkeys(("min", "mean", "max", *QUANTILES))
    levels = torch.tensor(list(QUANTILES.values()), dtype=finite.dtype)
    return (
        told
        | {"min": float(finite.min()), "mean": float(finite.mean()), "max": float(finite.max())}
        | dict(zip(QUANTILES, finite.quantile(levels).tolist(), strict=True))
    )


def vectors(named: dict[str, Tensor | None]) -> dict[str, Any]:
    """Lists of numbers; null where a number is not finite, with its word under `not_finite`.

    Returns:
        A list per name, null for a vector that the layer does not have, and where needed
        `not_finite`: nan, inf or -inf by name and index.
    """
    lists = {name: None if one is None else one.tolist() for name, one in named.items()}
    words = {name: _words(one) for name, one in lists.items() if one is not None}
    plain: dict[str, Any] = {
        name: None if one is None else [value if isfinite(value) else None for value in one]
        for name, one in lists.items()
    }
    odd = {name: found for name, found in words.items() if found}
    return {**plain, "not_finite": odd} if odd else plain


def _vectors(state: NormState) -> dict[str, Tensor | None]:
    return {
        "mean": state.mean,
        "variance": state.variance,
        "gain": state.gain,
        "bias": state.bias,
    }


def _words(values: list[float]) -> dict[str, str]:
    return {str(i): _word(value) for i, value in enumerate(values) if not isfinite(value)}


def _word(value: float) -> str:
    """nan, inf or -inf."""
    return str(float(value))
