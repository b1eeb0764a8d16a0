"""Residual networks of a given depth, written as the layers they consist of.

It knows the order of layers and torchvision's names for them; shapes are `model.sizes`' concern.

He et al. 2015, Deep Residual Learning, table 1 and section 4.2: https://arxiv.org/abs/1512.03385
"""

from collections.abc import Iterator

from model.errors import SpecRefused
from model.placed import Asked, NormedResidual, PaddedPool
from model.sizes import Plan, PlannedLayer, Shape
from model.spec import ActivationHere, Conv2d, Flatten, Layer, Linear, NormHere, Pool, ResNet

_NORM = NormHere(kind="norm")
_RELU = ActivationHere(kind="activation", activation="relu")


def blocks_per_stage(network: ResNet) -> tuple[int, ...]:
    """Residual blocks of each stage: 2, 2, 2, 2 for depth 18, else n, n, n with depth 6n + 2."""
    return (2,) * 4 if network.depth == 18 else ((network.depth - 2) // 6,) * 3


def stem(network: ResNet) -> str:
    """The stem that was asked for, or that of the depth's own paper."""
    return network.stem or ("imagenet" if network.depth == 18 else "cifar")


def width(network: ResNet) -> int:
    """Channels of the first stage."""
    return network.width or (64 if network.depth == 18 else 16)


def least_side(network: ResNet) -> int:
    """Pixels of the smallest side for which no stride runs over a single pixel.

    Every stride s turns a side into ceil(side / 2); with k of them, 2^(k-1) + 1 pixels leave
    2 for the last.
    """
    strides = len(blocks_per_stage(network)) - 1 + 2 * (stem(network) == "imagenet")
    return int(2 ** (strides - 1)) + 1


def layers(network: ResNet, shape: Shape) -> Iterator[Asked]:
    """Every layer for rows of `shape`, input side first.

    A block is relu(short cut + norm(conv(relu(norm(conv(x)))))). Where its shape differs from
    x's, the short cut is a convolution of one pixel and a norm, at every depth: the projection
    (B) of the paper, where its CIFAR networks pad with zeros instead (A).

    Raises:
        SpecRefused: rows that are no images, or that are too small for the strides.
    """
    _refuse_rows(network, shape)
    yield from (("network.stem", layer) for layer in _stem(network))
    channels = given = width(network)
    for stage, blocks in enumerate(blocks_per_stage(network)):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            yield "network.depth", _block(network, given, channels, stride)
            yield "network.depth", _RELU
            given = channels
        channels *= 2
    yield "network", Pool(kind="pool", pool="global_avg")
    yield "network", Flatten(kind="flatten")
    yield "network", Linear(kind="linear", out_features=None, bias=True)


def torchvision_names(network: ResNet, planned: Plan) -> dict[str, str]:
    """torchvision's name of every layer that has tensors, by ours.

    Returns:
        {"0": "conv1", "1": "bn1", "4.branch.0": "layer1.0.conv1", ...}; a network without norm
        has no "bn1".
    """
    names = dict(_numbered(layer for layer in planned.layers if not layer.branch))
    blocks = (layer for layer in planned.layers if layer.branch)
    for stage, count in enumerate(blocks_per_stage(network), 1):
        for block in range(count):
            names |= _block_names(next(blocks), f"layer{stage}.{block}.")
    return names


def _refuse_rows(network: ResNet, shape: Shape) -> None:
    if len(shape) != 3:
        message = f"resnet needs rows of (channels, height, width), it gets {shape}"
        raise SpecRefused("network.kind", message, input_shape=list(shape))
    least = least_side(network)
    if min(shape[1:]) < least:
        raise SpecRefused(
            "network.stem",
            f"rows of {shape} are too small: depth {network.depth} with the {stem(network)} stem "
            f"needs at least {least} pixels a side",
            input_shape=list(shape),
            limit=least,
        )


def _stem(network: ResNet) -> Iterator[Layer]:
    if stem(network) == "cifar":
        yield _convolution(network, width(network), size=3)
    else:
        yield _convolution(network, width(network), size=7, stride=2)
    yield _NORM
    yield _RELU
    if stem(network) == "imagenet":
        yield PaddedPool(kind="pool", pool="max", kernel_size=3, stride=2, padding=1)


def _block(network: ResNet, given: int, channels: int, stride: int) -> NormedResidual:
    branch = (
        _convolution(network, channels, size=3, stride=stride),
        _NORM,
        _RELU,
        _convolution(network, channels, size=3),
        _NORM,
    )
    changes = stride != 1 or given != channels
    return NormedResidual(kind="residual", layers=branch, projection=changes)


def _convolution(network: ResNet, channels: int, size: int, stride: int = 1) -> Conv2d:
    return Conv2d(
        kind="conv2d",
        out_channels=channels,
        kernel_size=size,
        stride=stride,
        padding=size // 2,
        bias=network.bias,
    )


def _numbered(layers: Iterator[PlannedLayer]) -> Iterator[tuple[str, str]]:
    """conv1, bn1, conv2, bn2, ... in the order given, and fc."""
    convolutions = norms = 0
    for layer in layers:
        if layer.norm is not None:
            norms += 1
            yield layer.name, f"bn{norms}"
        elif isinstance(layer.layer, Conv2d):
            convolutions += 1
            yield layer.name, f"conv{convolutions}"
        elif isinstance(layer.layer, Linear):
            yield layer.name, "fc"


def _block_names(block: PlannedLayer, prefix: str) -> dict[str, str]:
    names = {ours: prefix + theirs for ours, theirs in _numbered(iter(block.branch))}
    for index, layer in enumerate(block.short_cut):
        names[layer.name] = f"{prefix}downsample.{index}"
    return names
