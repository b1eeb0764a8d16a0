"""Adaptation of running statistics to another domain, from rows without labels."""

from torch import nn

from model.norms.batch import BatchNorm
from model.statistics.moments import Moments
from model.statistics.population import Batches, Statistics, layer_by_layer


def adapted(network: nn.Module, batches: Batches, source_rows: float) -> dict[str, Statistics]:
    """Mix a network's running statistics with those of target rows.

    For every layer, the layers before it already running on their mixed statistics:

        mean = N / (N + n) * source mean + n / (N + n) * target mean
        var  = N / (N + n) * source var  + n / (N + n) * target var

    The target variance is the biased one over the n rows (and their positions), and there is
    no term for the distance of the means. N = 0 forgets the source; with n of a few rows
    that is worse than no adaptation.

    Args:
        network: with the source's running statistics; left as it is.
        batches: target rows, scaled as the network's inputs; all together are the n rows.
        source_rows: N, how many rows the source statistics count as; 0 or more, or infinite
            for no adaptation.

    Returns:
        Statistics by layer name, in the order of the data.

    Raises:
        ValueError: N is negative.

    Schneider et al. 2020, section 3: https://arxiv.org/abs/2006.16971
    """
    if not source_rows >= 0:
        raise ValueError(f"expected source_rows of 0 or more, got {source_rows}")
    # Rows, not values: an image counts once however many positions it has.
    share = _share(sum(len(batch) for batch in batches), source_rows)

    def mix(layer: BatchNorm, target: Moments) -> Statistics:
        if share == 1:  # no part of the source, be it NaN
            return Statistics(target.mean, target.variance(0))
        source = running_statistics(layer)
        return Statistics(
            source.mean.lerp(target.mean, share),
            source.variance.lerp(target.variance(0), share),
        )

    return layer_by_layer(network, batches, mix)


def running_statistics(layer: BatchNorm) -> Statistics:
    """A layer's own running statistics in float64, a deviation squared."""
    spread = layer.running_spread.double()
    variance = spread.square() if layer.convention.running == "deviation" else spread
    return Statistics(layer.running_mean.double(), variance)


def _share(rows: int, source_rows: float) -> float:
    """n / (N + n), also for an infinite N."""
    return 1 / (1 + source_rows / rows)
