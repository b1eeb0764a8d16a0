"""Histograms of each activation layer's output and of the loss's gradient by that output.

Both are taken on a mini-batch, the step's own: a mean loss spreads its gradient over the rows,
so on more rows it would be smaller, and not that of training.

Of a very deep network a probe tells in fewer bins, so that its data are not too large to be kept,
and of evenly chosen layers where more than 360 are looked at.

Karpathy, makemore part 3: https://github.com/karpathy/nn-zero-to-hero
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import Any

import torch
from torch import Tensor, nn

from model import spec
from model.measures.numbers import MOST_NUMBERS, layer_points, number, numbers
from model.measures.probe import Block, Moment, Reading, Setting
from model.measures.sites import Site, activation_sites, watched
from model.measures.untouched import Again, untouched
from model.measures.values import evenly
from model.plan import Checked
from model.training.losses import LossFunction

BINS = 40
LEAST_BINS = 10  # that a deep network's histograms have, unless fewer are asked for
BESIDE = 30  # numbers of two histograms' length that a layer's names and moments take


@dataclass(frozen=True)
class Histogram:
    """All values of one layer in equal bins from the smallest to the largest finite one."""

    edges: Tensor  # (bins + 1,) float64, ascending; NaN where no value is finite
    density: Tensor  # (bins,) float64, area 1
    mean: float
    sd: float  # over n; NaN where a value is not finite, as are the mean and the kurtosis
    kurtosis: float  # excess: E[(x - mean)^4] / sd^4 - 3, 0 for a normal; NaN where sd is 0
    not_finite: int  # values that are in no bin

    @classmethod
    def of(cls, values: Tensor, bins: int = BINS) -> "Histogram":
        """The histogram of all elements of a tensor.

        Where all are equal, the bins reach half a unit to both sides.
        """
        x = values.detach().double().cpu().flatten()
        mean = x.mean()
        squares = (x - mean).square()
        variance = squares.mean()
        finite = x if bool(variance.isfinite()) else x[x.isfinite()]
        return cls(
            *_binned(finite, bins),
            mean=float(mean),
            sd=float(variance.sqrt()),
            kurtosis=float(squares.square().mean() / variance.square() - 3),
            not_finite=len(x) - len(finite),
        )

    def to_json(self) -> dict[str, Any]:
        """The histogram as JSON-ready values; its bins are equal parts of `low` to `high`."""
        low, high = float(self.edges[0]), float(self.edges[-1])
        shown = {"low": low, "high": high, "mean": self.mean, "sd": self.sd}
        told: dict[str, Any] = {key: number(value) for key, value in shown.items()}
        told["kurtosis"] = number(self.kurtosis)
        return told | {"not_finite": self.not_finite, "density": numbers(self.density)}


@dataclass(frozen=True)
class LayerHistograms:
    """One activation layer on one batch."""

    site: Site
    activation: Histogram  # of its output
    gradient: Histogram  # of the loss by its output


def histograms_of(
    network: nn.Module,
    block: Block,
    loss: LossFunction,
    *,
    bins: int = BINS,
    again: Again | None = None,
) -> tuple[LayerHistograms, ...]:
    """Histograms of every activation layer, in network order.

    The network is run in the mode in which it is, and left as it is.

    Args:
        block: passes at once; all its activations are held.
        again: puts the generators back before the rows pass.
    """
    sites = activation_sites(network)
    outputs: dict[str, Tensor] = {}

    def note(site: Site, _: Tensor, y: Tensor) -> None:
        outputs[site.name] = y

    if not sites:
        return ()
    with untouched(network, again) as same_noise, torch.enable_grad(), watched(sites, note):
        same_noise()
        # An activation before all weights has a gradient if the rows have one.
        value = loss(network(_followed(block.inputs)), block.targets)
        slopes = torch.autograd.grad(value, [outputs[site.name] for site in sites])
    return tuple(
        LayerHistograms(site, Histogram.of(outputs[site.name], bins), Histogram.of(slope, bins))
        for site, slope in zip(sites, slopes, strict=True)
    )


def passes(asked: spec.Histograms, checked: Checked) -> int:
    """Row-passes of one probe: the gradient of one batch."""
    return 3 * checked.batches.largest


def probe(asked: spec.Histograms, setting: Setting) -> "HistogramsProbe":
    """What is asked at every probed step."""
    return HistogramsProbe(setting.loss, asked.bins)


@dataclass(frozen=True)
class HistogramsProbe:
    """Histograms of the step's own batch, layer by layer, as many and as fine as are kept."""

    loss: LossFunction
    bins: int

    def look(self, at: Moment) -> Reading:
        """The histograms, and the deviation and kurtosis of each as points."""
        count = len(activation_sites(at.network))
        told, bins = _that_fit(count, self.bins)
        found = histograms_of(at.network, at.batch, self.loss, bins=bins, again=at.again)
        points: dict[str, Callable[[LayerHistograms], float]] = {
            "activation_sd": lambda one: one.activation.sd,
            "gradient_sd": lambda one: one.gradient.sd,
            "gradient_kurtosis": lambda one: one.gradient.kurtosis,
        }
        values = layer_points("histograms", points, enumerate(found, 1))
        layers = [_json(place + 1, found[place]) for place in told]
        counts = {"rows": len(at.batch.inputs), "bins": bins, "activation_layers": count}
        return Reading(values, counts | {"layers": layers})


def _that_fit(layers: int, bins: int) -> tuple[list[int], int]:
    """Places of the layers of which one probe's data can tell, and in how many bins."""
    told = evenly(layers, MOST_NUMBERS // (BESIDE + 2 * min(bins, LEAST_BINS)))
    room = MOST_NUMBERS // max(1, len(told)) - BESIDE
    return told, min(bins, room // 2)


def _followed(inputs: Tensor) -> Tensor:
    return inputs.detach().requires_grad_() if inputs.is_floating_point() else inputs


def _binned(finite: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Edges and density of float64 values on the CPU."""
    if not len(finite):
        return torch.full((bins + 1,), nan).double(), torch.full((bins,), nan).double()
    low, high = (float(end) for end in finite.aminmax())
    if low == high:
        half = max(0.5, abs(low) * 1e-6)
        low, high = low - half, high + half
    density, edges = torch.histogram(finite, bins, range=(low, high), density=True)
    return edges, density


def _json(n: int, one: LayerHistograms) -> dict[str, Any]:
    return {
        "layer": n,
        "name": one.site.name,
        "activation": one.site.kind,
        "outputs": one.activation.to_json(),
        "gradients": one.gradient.to_json(),
    }
