"""How far statistics of the first few batches are from those of all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.norms.batch import BatchNorm
from model.statistics.population import Statistics
from model.statistics.row_batches import RowBatches

#: Statistics of every layer from batches.
Estimate = Callable[[RowBatches], dict[str, Statistics]]


@dataclass(frozen=True)
class CurvePoint:
    """The error of an estimate from some of the batches, against that from all of them."""

    batches: int
    rows: int
    mean_error: float  # |difference of means| in deviations, mean over all channels
    variance_error: float  # |ln of the ratio of variances|, mean over all channels


def converge(
    estimate: Estimate, batches: RowBatches, layers: Mapping[str, BatchNorm]
) -> tuple[dict[str, Statistics], tuple[CurvePoint, ...]]:
    """Estimate from all batches, and from the first 1, 2, 4, 8, ... of them.

    Every estimate is made anew, so that a layer's error holds what the partial statistics of
    the layers before it cost. All together they read the rows about twice as often as the
    last one alone.

    Returns:
        The estimate from all batches; one point for each estimate, the last with error 0.
    """
    final = estimate(batches)
    parts = [batches.first(count) for count in partial_counts(len(batches))]
    points = [_point(part, estimate(part), final, layers) for part in parts]
    return final, (*points, CurvePoint(len(batches), batches.num_rows, 0.0, 0.0))


def partial_counts(batches: int) -> list[int]:
    """1, 2, 4, 8, ... below the number of all batches."""
    return [2**k for k in range(batches.bit_length()) if 2**k < batches]


def _point(
    part: RowBatches,
    found: dict[str, Statistics],
    final: dict[str, Statistics],
    layers: Mapping[str, BatchNorm],
) -> CurvePoint:
    means, variances = [], []
    for name, end in final.items():
        divisor = _divisor(layers[name], end)
        means.append((found[name].mean - end.mean).abs() / divisor)
        variances.append(2 * (_divisor(layers[name], found[name]) / divisor).log().abs())
    return CurvePoint(len(part), part.num_rows, _mean(means), _mean(variances))


def _divisor(layer: BatchNorm, statistics: Statistics) -> Tensor:
    """What eval mode divides by: with its eps, a channel that is constant has an error, too."""
    if layer.convention.running == "deviation":
        return statistics.deviation + layer.eps
    return (statistics.variance + layer.eps).sqrt()


def _mean(errors: list[Tensor]) -> float:
    """Over all channels but those that eval mode cannot divide: constant, with eps 0."""
    values = torch.cat(errors)
    finite = values[values.isfinite()]
    return finite.mean().item() if len(finite) else 0.0
