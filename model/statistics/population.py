"""Statistics of every batch norm's input over all rows of a set, three ways.

`precise` gives each layer what it will meet in eval mode. `pooled` and `ema` let every layer
normalize by the batch at hand, as in training, so that their answer depends on the batches.

Batches are scaled inputs, (n, *input_shape) each, on any device; they are read several times
and never held together. The network that is given is not touched: a copy of it runs.
"""

import contextlib
import copy
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from model.norms.batch import BatchNorm
from model.statistics.levels import norm_levels
from model.statistics.modes import batch_norms, batch_statistics
from model.statistics.moments import Moments

FEW = 8  # rows that show how the layers hang together


@dataclass(frozen=True)
class Statistics:
    """Mean and variance of what enters one batch norm, in float64 on the layer's device.

    A layer with `running: deviation` stores the root of this variance. Its own average of
    batch deviations lies a little below (a root is concave), and would be this root if one
    batch held all the rows; only so does the spread not depend on the batches.
    """

    mean: Tensor  # (C,)
    variance: Tensor  # (C,)

    @property
    def deviation(self) -> Tensor:
        """Root of the variance, (C,)."""
        return self.variance.sqrt()

    @torch.no_grad()
    def put_into(self, layer: BatchNorm) -> None:
        """Make these the layer's running statistics, rounded once to its precision."""
        deviates = layer.convention.running == "deviation"
        layer.running_mean.copy_(self.mean)
        layer.running_spread.copy_(self.deviation if deviates else self.variance)


class Batches(Protocol):
    """Batches of scaled rows that can be read again and again: a tuple, not a generator."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Tensor]: ...


#: Makes a layer's new statistics from the moments of its input.
Settle = Callable[[BatchNorm, Moments], Statistics]


def precise(network: nn.Module, batches: Batches) -> dict[str, Statistics]:
    """Population statistics for eval mode, the same for every batch size.

    In the order of the data, a layer's statistics are the mean and M2 / (n - 1) of its input
    over all rows, while the layers before it run in eval mode with their new statistics. All
    rows weigh the same, those of a short last batch too. Layers without a data path between
    them share a pass over the rows.

    Args:
        batches: at least two rows in all, and one batch.

    Returns:
        Statistics by layer name, in the order of the data.

    Raises:
        ValueError: a layer would see a single value per channel.
    """
    return layer_by_layer(network, batches, _unbiased)


def layer_by_layer(network: nn.Module, batches: Batches, settle: Settle) -> dict[str, Statistics]:
    """Settle each layer's statistics while the layers before it run on their new ones.

    Args:
        settle: gets the layer with its old statistics and the moments of its input.
    """
    running = copy.deepcopy(network).eval()
    device = _device(running)
    few = next(iter(batches))[:FEW].to(device)
    settled: dict[str, Statistics] = {}
    for level in norm_levels(running, few):
        for name, moments in _gather(running, level, batches).items():
            layer = _norm(running, name)
            settled[name] = settle(layer, moments)
            settled[name].put_into(layer)
    return settled


def pooled(network: nn.Module, batches: Batches) -> dict[str, Statistics]:
    """The classic one-pass PreciseBN; it depends on the batch size.

    Every layer normalizes by the statistics of the batch at hand, as in training:

        mean = E[mean_B]
        var  = (E[mean_B^2 + var_B] - E[mean_B]^2) * n / (n - 1)

    with var_B over n_B and E weighing batches by their values n_B, computed as the merged
    moments of the batches, which is the same number without the cancellation. At batches of
    8, a second layer may be off by a tenth of a deviation and a fifth of the variance.

    Args:
        batches: none of a single row; several rows of each class in each, or the layers
            behind the first learn of rows that no eval mode will meet.

    Raises:
        ValueError: a batch gives a channel a single value.
        DeviationZero: a channel is constant over a batch and eps is 0.

    Wu and Johnson 2021, section 3: https://arxiv.org/abs/2105.07576
    """
    merged: dict[str, Moments] = {}
    for seen in _by_batch(network, batches):
        for name, moments in seen.items():
            merged[name] = merged[name].merged(moments) if name in merged else moments
    return {name: _settled(moments) for name, moments in merged.items()}


def ema(network: nn.Module, batches: Batches, momentum: float | None) -> dict[str, Statistics]:
    """A running average over the batches in their order, without any share of old values.

    The weights are those of training, m * (1 - m)^(k - i) for batch i of k, divided by their
    sum 1 - (1 - m)^k, so that neither the first 0 and 1 nor the old statistics count:

        share of the newest batch k = m / (1 - (1 - m)^k);  1 / k for m None or 0

    As in training every layer normalizes by the batch at hand, and what is averaged is the
    unbiased variance, or the unbiased deviation with `running: deviation`.

    Args:
        batches: of shuffled rows; none of a single row.
        momentum: m, share of the newest batch, 0 to 1.

    Raises:
        ValueError, DeviationZero: see `pooled`.
    """
    layers = batch_norms(network)
    means: dict[str, Tensor] = {}
    spreads: dict[str, Tensor] = {}
    for index, seen in enumerate(_by_batch(network, batches)):
        share = 1 / (index + 1) if not momentum else momentum / (1 - (1 - momentum) ** (index + 1))
        for name, moments in seen.items():
            spread = moments.variance().pow(_power(layers[name]))
            means[name] = torch.lerp(means.get(name, moments.mean), moments.mean, share)
            spreads[name] = torch.lerp(spreads.get(name, spread), spread, share)
    return {
        name: Statistics(mean, spreads[name].pow(1 / _power(layers[name])))
        for name, mean in means.items()
    }


def _power(layer: BatchNorm) -> float:
    """The power of the variance that a layer's running spread is."""
    return 0.5 if layer.convention.running == "deviation" else 1.0


def _settled(moments: Moments) -> Statistics:
    return Statistics(moments.mean, moments.variance())


def _unbiased(_: BatchNorm, moments: Moments) -> Statistics:
    return _settled(moments)


class _Enough(Exception):
    """Every layer asked for has seen its input: the rest of the network need not run."""


@torch.no_grad()
def _gather(network: nn.Module, names: Collection[str], batches: Batches) -> dict[str, Moments]:
    """Moments of what enters the named layers over all batches, each pass ended at the last."""
    gathered: dict[str, Moments] = {}
    with _watched(network, names, stop=True) as seen:
        for batch in batches:
            seen.clear()
            with contextlib.suppress(_Enough):
                network(batch.to(_device(network)))
            for name, moments in seen.items():
                gathered[name] = gathered[name].merged(moments) if name in gathered else moments
    return gathered


@torch.no_grad()
def _by_batch(network: nn.Module, batches: Batches) -> Iterator[dict[str, Moments]]:
    """Moments of every layer's input, batch by batch, normalized by that batch."""
    running = copy.deepcopy(network)
    with batch_statistics(running), _watched(running, batch_norms(running)) as seen:
        for batch in batches:
            seen.clear()
            running(batch.to(_device(running)))
            yield dict(seen)


@contextlib.contextmanager
def _watched(
    network: nn.Module, names: Collection[str], stop: bool = False
) -> Iterator[dict[str, Moments]]:
    """A dict that fills with the moments of what enters the named layers."""
    seen: dict[str, Moments] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def note(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            seen[name] = Moments.of(args[0])
            if stop and len(seen) == len(names):
                raise _Enough

        return note

    handles = [_norm(network, name).register_forward_pre_hook(watch(name)) for name in names]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _norm(network: nn.Module, name: str) -> BatchNorm:
    layer = network.get_submodule(name)
    assert isinstance(layer, BatchNorm)
    return layer


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
