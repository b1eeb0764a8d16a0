"""Networks of linear layers, written as the layers they consist of.

Rows of several axes are flattened first. Shapes are `model.sizes`' concern.
"""

from collections.abc import Iterator

from model.placed import Asked, NormedResidual, behind_weights
from model.sizes import Shape
from model.spec import (
    ActivationHere,
    DeepLinear,
    Flatten,
    Linear,
    Mlp,
    NormByKind,
    NormHere,
    ResidualMlp,
)

_NORM = NormHere(kind="norm")


def mlp(network: Mlp, norm: NormByKind, shape: Shape) -> Iterator[Asked]:
    """Linear layers with a norm and an activation behind each, and a linear layer to the outputs.

    On which side of the activation the norm stands, `norm.placement` says.
    """
    yield from _flattened(shape)
    for index, units in enumerate(network.hidden):
        path = f"network.hidden.{index}"
        yield path, Linear(kind="linear", out_features=units, bias=network.bias)
        yield from ((path, layer) for layer in behind_weights(norm, network.activation))
    yield "network", Linear(kind="linear", out_features=None, bias=True)


def deep_linear(network: DeepLinear, shape: Shape) -> Iterator[Asked]:
    """Linear layers without bias, the norm behind every one but the last, and nothing else.

        y = W_n norm(W_n-1 ... norm(W_1 x))

    Without norm and with n = 25, 10 units wide, it is the deep linear network of Santurkar et
    al. 2018, section 2: https://arxiv.org/abs/1805.11604
    """
    yield from _flattened(shape)
    for _ in range(network.layers - 1):
        yield "network.width", Linear(kind="linear", out_features=network.width, bias=False)
        yield "network.layers", _NORM
    yield "network", Linear(kind="linear", out_features=None, bias=False)


def residual_mlp(network: ResidualMlp, shape: Shape) -> Iterator[Asked]:
    """A stem, residual blocks of one width, and a linear layer with a bias to the outputs.

        h <- act(norm(W_0 x))                      the stem
        h <- h + norm(W_2 act(norm(W_1 h)))        each block, nothing behind the sum
        y  = W h + b

    As in `resnet`, the norm stands directly behind every linear layer but the last, whatever
    `norm.placement` says. Without norm a block of ReLUs is h <- h + W_2 relu(W_1 h).

    Bjorck et al. 2018 grow networks of such blocks: https://arxiv.org/abs/1806.02375
    """
    linear = Linear(kind="linear", out_features=network.width, bias=network.bias)
    activation = ActivationHere(kind="activation", activation=network.activation)
    branch = (linear, _NORM, activation, linear, _NORM)
    yield from _flattened(shape)
    yield from (("network.width", layer) for layer in (linear, _NORM, activation))
    for _ in range(network.blocks):
        yield "network.blocks", NormedResidual(kind="residual", layers=branch, projection=False)
    yield "network", Linear(kind="linear", out_features=None, bias=True)


def _flattened(shape: Shape) -> Iterator[Asked]:
    if len(shape) != 1:
        yield "network", Flatten(kind="flatten")
