"""What a norm layer averages, what a batch says and what the population is, in a few numbers.

One point of a run's history: vectors stay in the checkpoint, and this is what is plotted.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from model.errors import DeviationZero
from model.statistics.evidence import Evidence
from model.statistics.layers import NormState, norm_states
from model.statistics.modes import batch_norms
from model.statistics.population import Statistics, pooled

QUARTILES = {"p25": 0.25, "median": 0.5, "p75": 0.75}


def statistics_of(network: nn.Module, batches: tuple[Tensor, ...]) -> dict[str, Statistics]:
    """Every layer's statistics over some batches, each normalized by itself, as in training.

    Chunks of a thousand rows and more make this the population's, in one pass over the rows.

    Args:
        batches: scaled rows, (n, *input_shape) each; none of a single row.

    Returns:
        By layer; empty without batch norms, without rows, and where a channel is constant over
        a batch while eps is 0.
    """
    if not batches or not batch_norms(network):
        return {}
    try:
        return pooled(network, batches)
    except DeviationZero:
        return {}


def point(
    network: nn.Module,
    batch: Mapping[str, Statistics],
    population: Mapping[str, Statistics],
    rows: int,
    known: Evidence | None = None,
) -> dict[str, Any]:
    """Compare the running statistics of every layer with a batch's and the population's.

        distance of the means  |mean - population mean| / population SD
        of the variances       ln(variance / population variance)

    Args:
        batch: of one training batch, by layer.
        population: of many rows; what is missing is not compared with.
        rows: how many rows the population has.
        known: what counters do not tell.

    Returns:
        `rows` and one entry per layer in network order; a number that is not finite, or of
        channels that do not vary, is null.
    """
    known = known or Evidence()
    layers = [
        {**_layer(state, batch, population), "share_of_initial": _share(state, known)}
        for state in norm_states(network)
    ]
    return {"rows": rows, "layers": layers}


def _layer(
    state: NormState, batch: Mapping[str, Statistics], population: Mapping[str, Statistics]
) -> dict[str, Any]:
    own, from_batch = Statistics(state.mean, state.variance), batch.get(state.name)
    from_population = population.get(state.name)
    known = {"running": own, "batch": from_batch, "population": from_population}
    return {
        "layer": state.name,
        "channels": len(state.mean),
        "mean": {name: _root_mean_square(one) for name, one in known.items()},
        "variance": {name: _geometric_mean(one) for name, one in known.items()},
        "running_distance": _distance(own, from_population),
        "batch_distance": _distance(from_batch, from_population),
    }


def _share(state: NormState, known: Evidence) -> float | None:
    return known.share(state.name, state.momentum, state.counter)


def _root_mean_square(one: Statistics | None) -> float | None:
    return None if one is None else _plain(one.mean.square().mean().sqrt())


def _geometric_mean(one: Statistics | None) -> float | None:
    """Over the channels that vary."""
    if one is None or not (one.variance > 0).any():
        return None
    return _plain(one.variance[one.variance > 0].log().mean().exp())


def _distance(one: Statistics | None, population: Statistics | None) -> dict[str, Any] | None:
    if one is None or population is None:
        return None
    varies = population.variance.cpu() > 0
    sd = population.variance.cpu()[varies].sqrt()
    moved = (one.mean.cpu() - population.mean.cpu())[varies].abs() / sd
    ratio = (one.variance.cpu()[varies] / sd.square()).log()
    return {"mean_sd": _quartiles(moved), "log_variance": _quartiles(ratio)}


def _quartiles(values: Tensor) -> dict[str, float | None] | None:
    if not len(values) or values.isnan().any():
        return None
    levels = torch.tensor(list(QUARTILES.values()), dtype=values.dtype)
    found = torch.quantile(values, levels, interpolation="nearest")
    return {name: _plain(value) for name, value in zip(QUARTILES, found, strict=True)}


def _plain(value: Tensor) -> float | None:
    number = float(value)
    return number if isfinite(number) else None
