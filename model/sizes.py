"""What a layer makes of a row: shapes, parameters and buffers as Python integers.

Nothing is built here, so a layer of 2**31 units costs one multiplication. It does not know
the order of layers (`model.plan`) nor how a layer is built (`model.networks`).
Shapes leave the batch out: (features,), (channels, height, width).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from model.errors import SpecRefused
from model.placed import PaddedPool
from model.spec import (
    BatchNorm,
    BatchRenorm,
    Columns,
    Conv2d,
    Embedding,
    Flatten,
    GhostBatchNorm,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    Linear,
    LpNorm,
    Noise,
    NoisyBatchNorm,
    OverBatch,
    Pool,
    Unflatten,
)

Shape = tuple[int, ...]
PlannedNorm = (
    BatchNorm
    | NoisyBatchNorm
    | Noise
    | LpNorm
    | GhostBatchNorm
    | BatchRenorm
    | LayerNorm
    | GroupNorm
    | InstanceNorm
)


@dataclass(frozen=True)
class PlannedLayer:
    """One layer of the network that will be built, with every number known."""

    name: str  # prefix of its tensors in the state dict: "0", "3.branch.1", "3.projection"
    path: str  # the field of the spec that asked for it: "network.layers.3"
    layer: Layer  # as asked; a null `out_features` is resolved by output_shape
    norm: PlannedNorm | None  # the norm that stands here, for a norm layer alone
    input_shape: Shape  # of one row
    output_shape: Shape  # of one row
    parameters: int  # learned values, those of a residual's inside included
    buffers: int  # running statistics and counters, those of the inside included
    branch: tuple["PlannedLayer", ...] = ()  # of a residual alone
    projection: "PlannedLayer | None" = None  # of a residual alone
    projection_norm: "PlannedLayer | None" = None  # of a projection that a norm follows

    def walk(self) -> Iterator["PlannedLayer"]:
        """This layer and all inside it, in the order in which weights are drawn."""
        yield self
        for inner in self.branch:
            yield from inner.walk()
        yield from self.short_cut

    @property
    def short_cut(self) -> "tuple[PlannedLayer, ...]":
        """What a residual's x goes through beside the branch, in order; none: x as it is."""
        return tuple(one for one in (self.projection, self.projection_norm) if one is not None)

    @property
    def has_weights(self) -> bool:
        """Whether it is a linear layer or a convolution."""
        return isinstance(self.layer, Linear | Conv2d)

    @property
    def is_drawn(self) -> bool:
        """Whether it starts with drawn values: an embedding too, which sums over nothing."""
        return self.has_weights or isinstance(self.layer, Embedding)

    @property
    def positions(self) -> int:
        """Values per channel that one row brings: height times width, or 1."""
        return prod(self.input_shape[1:])


@dataclass(frozen=True)
class Plan:
    """A network before it exists."""

    layers: tuple[PlannedLayer, ...]  # the entries of the sequence, input side first
    parameters: int  # learned values
    buffers: int  # running statistics and counters
    activations_per_row: int  # values that one row leaves behind for the backward pass

    def walk(self) -> Iterator[PlannedLayer]:
        """Every layer, those inside residuals included, in the order weights are drawn."""
        for layer in self.layers:
            yield from layer.walk()

    @property
    def output_name(self) -> str | None:
        """Name of the output layer: the last linear layer or convolution, if there is one."""
        weighted = [layer.name for layer in self.walk() if layer.has_weights]
        return weighted[-1] if weighted else None


def output_shape(layer: Layer, shape: Shape, outputs: int, path: str) -> Shape:
    """The shape of one row after `layer`.

    Args:
        layer: any layer but a residual, whose shape is that of its branch.
        shape: one row before it.
        outputs: units of a linear layer with null `out_features`.
        path: field to name in a refusal.

    Raises:
        SpecRefused: the layer cannot take such rows.
    """
    match layer:
        case Linear():
            return (*shape[:-1], layer.out_features or outputs)
        case Conv2d():
            return (layer.out_channels, *_window(layer, layer.padding, shape, path))
        case Pool(pool="global_avg"):
            return (*_image(layer, shape, path)[:1], 1, 1)
        case PaddedPool():
            return (shape[0], *_window(layer, layer.padding, shape, path))
        case Pool():
            return (shape[0], *_window(layer, 0, shape, path))
        case Flatten():
            return (prod(shape),)
        case Unflatten():
            return _unflattened(layer, shape, path)
        case Columns():
            return _columns(layer, shape, path)
        case Embedding():
            return (*shape, layer.embedding_dim)
        case _:
            return shape


def parameters(layer: Layer, norm: PlannedNorm | None, before: Shape, after: Shape) -> int:
    """Learned values of one layer, its shapes before and after known."""
    match layer:
        case Linear():
            return before[-1] * after[-1] + after[-1] * layer.bias
        case Conv2d():
            weights = layer.kernel_size**2 * before[0] * after[0]
            return weights + after[0] * layer.bias
        case Embedding():
            return layer.num_embeddings * layer.embedding_dim
    if norm is None or isinstance(norm, Noise) or not norm.affine:
        return 0
    return 2 * (prod(before) if isinstance(norm, LayerNorm) else before[0])


def buffers(norm: PlannedNorm | None, shape: Shape) -> int:
    """Running mean, running spread and the counter of a norm over the batch; others have none."""
    return 2 * shape[0] + 1 if isinstance(norm, OverBatch) else 0


def kept(layer: PlannedLayer) -> int:
    """Values that one row leaves behind in a layer for the backward pass, its output included."""
    return prod(layer.output_shape) * (1 + _beside_the_output(layer.norm))


def _beside_the_output(norm: PlannedNorm | None) -> int:
    """Tensors as large as the output that a norm's own formulas keep."""
    match norm:
        case Noise():
            return 1  # the scale of every value
        case NoisyBatchNorm() | LpNorm() | BatchRenorm():
            return 2  # the scale, and what it scales; x - mean, and that times the gain
        case _:
            return 0


def refuse_norm(norm: PlannedNorm, shape: Shape, path: str) -> None:
    """Refuse a norm that rows of this shape cannot have.

    Raises:
        SpecRefused: the groups do not divide the channels, or a mean would be over one value,
            so that every output is the bias.
    """
    match norm:
        case OverBatch() | Noise():
            return
        case InstanceNorm() if len(shape) == 1:
            message = f"instance norm needs rows with positions; at {path} they have shape {shape}"
            raise SpecRefused("norm", message, input_shape=list(shape), layer=path)
        case InstanceNorm():
            values, of = prod(shape[1:]), "channel"
        case GroupNorm() if shape[0] % norm.groups:
            raise SpecRefused(
                "norm.groups",
                f"{norm.groups} groups do not divide the {shape[0]} channels at {path}",
                groups=norm.groups,
                channels=shape[0],
                layer=path,
            )
        case GroupNorm():
            values, of = prod(shape) // norm.groups, "group"
        case LayerNorm():
            values, of = prod(shape), "row"
    if values == 1:
        message = f"one value per {of} at {path}: normalized alone, it is always 0"
        raise SpecRefused("norm", message, values=1, layer=path)


def _unflattened(layer: Unflatten, shape: Shape, path: str) -> Shape:
    if len(shape) != 1:
        message = f"unflatten needs rows of one axis, it gets {shape}"
        raise SpecRefused(path, message, input_shape=list(shape))
    if prod(layer.shape) != shape[0]:
        message = f"{layer.shape} takes {prod(layer.shape)} values, a row has {shape[0]}"
        raise SpecRefused(
            f"{path}.shape", message, shape=list(layer.shape), input_shape=list(shape)
        )
    return layer.shape


def _columns(layer: Columns, shape: Shape, path: str) -> Shape:
    if layer.first > shape[-1]:
        message = f"the first {layer.first} of {shape[-1]} values are not there"
        raise SpecRefused(f"{path}.first", message, first=layer.first, input_shape=list(shape))
    return (*shape[:-1], layer.first)


def _image(layer: Layer, shape: Shape, path: str) -> Shape:
    if len(shape) == 3:
        return shape
    message = f"{layer.kind} needs rows of (channels, height, width), it gets {shape}"
    raise SpecRefused(path, message, input_shape=list(shape))


def _window(layer: Conv2d | Pool, padding: int, shape: Shape, path: str) -> Shape:
    """Height and width after a square window slides over rows of `shape`."""
    _, *sides = _image(layer, shape, path)
    size, stride = layer.kernel_size, layer.stride or layer.kernel_size
    after = tuple((side + 2 * padding - size) // stride + 1 for side in sides)
    if min(after) < 1:
        message = f"a {size} x {size} window does not fit rows of {shape} with padding {padding}"
        raise SpecRefused(path, message, kernel_size=size, padding=padding, input_shape=list(shape))
    return after
