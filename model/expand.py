"""A network and its norm as one sequence of layers, every shape known.

It knows the order of layers and their names in the state dict; what one layer does to a
shape is in `model.sizes`, what the whole run costs in `model.plan`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from model import resnet, vgg
from model.errors import SpecRefused
from model.perceptrons import deep_linear, mlp, residual_mlp
from model.placed import Asked, NormedResidual
from model.sizes import PlannedLayer, Shape, buffers, output_shape, parameters, refuse_norm
from model.spec import (
    Conv2d,
    DeepLinear,
    Layer,
    Layers,
    Linear,
    Mlp,
    Network,
    NoNorm,
    NormByKind,
    NormHere,
    Pool,
    Residual,
    ResidualMlp,
    ResNet,
    Vgg,
)

MAX_DEPTH = 16  # residuals inside residuals: every level takes Python frames in a forward pass


def expand(
    network: Network, norm: NormByKind, shape: Shape, outputs: int
) -> tuple[PlannedLayer, ...]:
    """Lay the network out for rows of `shape`.

    Args:
        outputs: units of a linear layer that does not say how many.

    Raises:
        SpecRefused: a layer cannot take what the one before it gives.
    """
    return _Expansion(norm, outputs).chain(_asked(network, norm, shape), "", shape)


def _asked(network: Network, norm: NormByKind, shape: Shape) -> Iterable[Asked]:
    match network:
        case Layers():
            return _numbered("network", network.layers)
        case Mlp():
            return mlp(network, norm, shape)
        case DeepLinear():
            return deep_linear(network, shape)
        case ResidualMlp():
            return residual_mlp(network, shape)
        case ResNet():
            return resnet.layers(network, shape)
        case Vgg():
            return vgg.layers(network, norm, shape)


def _numbered(path: str, layers: Iterable[Layer]) -> list[Asked]:
    return [(f"{path}.layers.{index}", layer) for index, layer in enumerate(layers)]


def _inside(path: str, layer: Residual) -> list[Asked]:
    """What nobody asked for by itself has the field of what asked for the whole."""
    if isinstance(layer, NormedResidual):
        return [(path, one) for one in layer.layers]
    return _numbered(path, layer.layers)


@dataclass(frozen=True)
class _Expansion:
    """What all layers of one network share while it is laid out."""

    norm: NormByKind
    outputs: int

    def chain(self, asked: Iterable[Asked], prefix: str, shape: Shape) -> tuple[PlannedLayer, ...]:
        """Layers one after another; a norm layer of `norm: none` leaves no gap in the names."""
        layers: list[PlannedLayer] = []
        for path, layer in asked:
            if isinstance(layer, NormHere) and isinstance(self.norm, NoNorm):
                continue
            layers.append(self.place(layer, f"{prefix}{len(layers)}", path, shape))
            shape = layers[-1].output_shape
        return tuple(layers)

    def place(self, layer: Layer, name: str, path: str, shape: Shape) -> PlannedLayer:
        """One layer where rows of `shape` arrive."""
        if isinstance(layer, Residual):
            return self.residual(layer, name, path, shape)
        norm = None
        if isinstance(layer, NormHere) and not isinstance(self.norm, NoNorm):
            norm = self.norm
            refuse_norm(norm, shape, path)
        after = output_shape(layer, shape, self.outputs, path)
        learned = parameters(layer, norm, shape, after)
        return PlannedLayer(name, path, layer, norm, shape, after, learned, buffers(norm, shape))

    def residual(self, layer: Residual, name: str, path: str, shape: Shape) -> PlannedLayer:
        """`x + branch(x)`, x sent through a projection where one is asked for."""
        if name.count(".branch.") >= MAX_DEPTH:
            message = f"residuals may lie inside each other {MAX_DEPTH} deep, not deeper"
            raise SpecRefused(path, message, limit=MAX_DEPTH)
        branch = self.chain(_inside(path, layer), f"{name}.branch.", shape)
        after = branch[-1].output_shape if branch else shape
        short_cut = self.short_cut(layer, f"{name}.projection", path, shape, branch)
        _refuse_sum(path, after, short_cut[0].output_shape if short_cut else shape)
        inside = (*branch, *short_cut)
        return PlannedLayer(
            name,
            path,
            layer,
            norm=None,
            input_shape=shape,
            output_shape=after,
            parameters=sum(one.parameters for one in inside),
            buffers=sum(one.buffers for one in inside),
            branch=branch,
            projection=short_cut[0] if short_cut else None,
            projection_norm=short_cut[1] if len(short_cut) > 1 else None,
        )

    def short_cut(
        self,
        layer: Residual,
        name: str,
        path: str,
        shape: Shape,
        branch: tuple[PlannedLayer, ...],
    ) -> tuple[PlannedLayer, ...]:
        """The projection of x to the branch's shape, and its norm: none, one or both."""
        if not layer.projection:
            return ()
        after = branch[-1].output_shape if branch else shape
        sent = _projection(after, _stride(branch))
        if not isinstance(layer, NormedResidual) or isinstance(self.norm, NoNorm):
            return (self.place(sent, name, path, shape),)
        asked: list[Asked] = [(path, sent), (path, NormHere(kind="norm"))]
        return self.chain(asked, f"{name}.", shape)


def _projection(after: Shape, stride: int) -> Layer:
    # Built past validation: its numbers follow from the branch and may pass a user's bounds.
    if len(after) != 3:
        return Linear.model_construct(kind="linear", out_features=after[-1], bias=False)
    return Conv2d.model_construct(
        kind="conv2d", out_channels=after[0], kernel_size=1, stride=stride, padding=0, bias=False
    )


def _stride(chain: tuple[PlannedLayer, ...]) -> int:
    """Pixels of the input between two neighbouring outputs of the chain."""
    factors = (
        one.layer.stride or one.layer.kernel_size
        for one in chain
        if isinstance(one.layer, Conv2d | Pool)
    )
    return prod(factors) * prod(_stride(one.branch) for one in chain if one.branch)


def _refuse_sum(path: str, branch: Shape, short_cut: Shape) -> None:
    if branch != short_cut:
        raise SpecRefused(
            path,
            f"x + layers(x) needs equal shapes: x comes as {short_cut}, the layers give {branch}",
            short_cut=list(short_cut),
            branch=list(branch),
        )
