"""What a network's depth does to activations and gradients at one point of its parameters.

Channel moments against depth and along an update, the shape of a gradient's distribution, the
gradients at the outputs, and how far the summands of a weight's gradient cancel.

Bjorck et al. 2018, figures 2, 4, 5, 6 and table 1: https://arxiv.org/abs/1806.02375
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from model.measures.objective import Objective, moved, parameters_of, unflatten
from model.measures.sites import Site, watched
from model.sizes import Plan
from model.spec import Residual
from model.statistics.moments import Moments


@dataclass(frozen=True)
class LayerMoments:
    """Mean and deviation of every channel of what leaves a layer, over rows and positions."""

    name: str
    mean: Tensor  # (C,) float64
    deviation: Tensor  # (C,) float64, over n

    @property
    def mean_size(self) -> float:
        """Mean over channels of |mean|."""
        return float(self.mean.abs().mean())

    @property
    def mean_deviation(self) -> float:
        """Mean over channels of the deviation."""
        return float(self.deviation.mean())


@dataclass(frozen=True)
class Distribution:
    """How a gradient's elements are spread."""

    largest: float  # in size
    excess_kurtosis: float  # 0 for a normal distribution; NaN where all are equal


@dataclass(frozen=True)
class OutputGradients:
    """Gradients of the loss by the outputs."""

    gradients: Tensor  # (rows, outputs)
    #: Share of rows whose largest output is the one that is largest for most rows: 1 where the
    #: network gives every row the same class. NaN where an output is NaN.
    same_class: float


@dataclass(frozen=True)
class Cancellation:
    """A weight's gradient is a sum over rows and positions; means over a layer's weights."""

    name: str
    size_of_sum: float  # mean of |sum of g|
    sum_of_sizes: float  # mean of sum of |g|


def depth_names(plan: Plan) -> tuple[str, ...]:
    """Layers whose outputs show the depth: every residual, or else every layer with weights."""
    residuals = tuple(one.name for one in plan.walk() if isinstance(one.layer, Residual))
    return residuals or tuple(one.name for one in plan.walk() if one.has_weights)


@torch.no_grad()
def channel_moments(at: Objective, where: Tensor, names: Sequence[str]) -> list[LayerMoments]:
    """Moments of what leaves the named layers where the parameters are `where`, (P,).

    A channel that is not finite has NaN or infinite moments.

    Raises:
        DeviationZero: a norm with eps 0 meets a constant channel.
    """
    with at.kept(), _seen(at.network, names) as seen:
        at.outputs(unflatten(where, parameters_of(at.network)))
    found = ((name, Moments.of(seen[name][1])) for name in names)
    return [LayerMoments(name, one.mean, one.variance(0).sqrt()) for name, one in found]


def moments_along(
    at: Objective, start: Tensor, update: Tensor, shares: Sequence[float], names: Sequence[str]
) -> list[list[LayerMoments]]:
    """Channel moments after each share of an update: of `start + share * update`.

    Raises:
        DeviationZero: see `channel_moments`.
    """
    return [channel_moments(at, moved(start, update, share), names) for share in shares]


def distribution(gradient: Tensor) -> Distribution:
    """Largest size and excess kurtosis of a tensor's elements, m4 / m2^2 - 3 over n, float64."""
    values = gradient.detach().double().flatten()
    largest = float(values.abs().max())
    # Scaled, so that fourth powers neither vanish nor overflow.
    scaled = values / largest if largest > 0 else values
    squares = (scaled - scaled.mean()).square()
    m2 = float(squares.mean())
    m4 = float(squares.square().mean())
    return Distribution(largest, nan if m2 == 0 else m4 / m2**2 - 3)


def output_gradients(at: Objective, where: Tensor) -> OutputGradients:
    """Gradients by the outputs of every row where the parameters are `where`, (P,).

    Raises:
        DeviationZero: a norm with eps 0 meets a constant channel.
    """
    with at.kept(), torch.no_grad():
        outputs = at.outputs(unflatten(where, parameters_of(at.network)))
    leaf = outputs.detach().requires_grad_()
    (gradients,) = torch.autograd.grad(at.loss(leaf, at.block.targets), [leaf])
    return OutputGradients(gradients, _share_of_commonest(outputs))


def cancellations(at: Objective, where: Tensor, names: Sequence[str]) -> list[Cancellation]:
    """How far the summands of each weight's gradient cancel, layer by layer.

    A summand is what one row at one position adds: x of the layer's input times the gradient
    at its output. The sum of their sizes is the weight gradient that |x| and |gradient| give.

    Args:
        where: parameters, (P,).
        names: of linear layers and convolutions.

    Raises:
        DeviationZero: a norm with eps 0 meets a constant channel.
    """
    leaves = {
        name: one.detach().requires_grad_()
        for name, one in unflatten(where, parameters_of(at.network)).items()
    }
    with at.kept(), torch.enable_grad(), _seen(at.network, names) as seen:
        loss = at.loss(at.outputs(leaves), at.block.targets)
    gradients = torch.autograd.grad(loss, [seen[name][1] for name in names])
    return [
        _cancellation(name, at.network.get_submodule(name), seen[name][0].detach(), gradient)
        for name, gradient in zip(names, gradients, strict=True)
    ]


@contextmanager
def _seen(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """A dict that fills with what enters and leaves the named layers as they run."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def note(site: Site, given: Tensor, left: Tensor) -> None:
        seen[site.name] = given, left

    with watched([Site(name, network.get_submodule(name)) for name in names], note):
        yield seen


def _cancellation(name: str, layer: nn.Module, x: Tensor, gradient: Tensor) -> Cancellation:
    summed, sizes = (
        _weight_gradient(layer, *given).abs().double().mean()
        for given in ((x, gradient), (x.abs(), gradient.abs()))
    )
    return Cancellation(name, float(summed), float(sizes))


def _weight_gradient(layer: nn.Module, x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of a layer's weight from its input and the gradient at its output."""
    if isinstance(layer, nn.Conv2d):
        assert not isinstance(layer.padding, str)
        shape, geometry = layer.weight.shape, (layer.stride, layer.padding, layer.dilation)
        by_kernel: Tensor = conv2d_weight(x, shape, gradient, *geometry, layer.groups)
        return by_kernel
    return gradient.flatten(0, -2).T @ x.flatten(0, -2)


def _share_of_commonest(outputs: Tensor) -> float:
    if bool(outputs.isnan().any()):
        return nan
    counted = Counter(outputs.argmax(1).tolist())
    return max(counted.values()) / len(outputs)
