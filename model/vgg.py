"""Plain convolutional networks of a given depth, written as the layers they consist of.

Simonyan and Zisserman 2014, Very Deep Convolutional Networks, table 1, columns A, B and D:
https://arxiv.org/abs/1409.1556
"""

from collections.abc import Iterator
from math import prod

from model.errors import SpecRefused
from model.placed import Asked, behind_weights
from model.sizes import Shape
from model.spec import Conv2d, Flatten, Linear, NormByKind, Pool, Unflatten, Vgg

#: Channels of the stages, at width 1; a pool that halves both sides ends each stage.
CHANNELS = (64, 128, 256, 512, 512)
MOST_POOLS = len(CHANNELS)
_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3)}


def channels(network: Vgg) -> tuple[int, ...]:
    """Channels of each stage."""
    return tuple(max(1, round(network.width * one)) for one in CHANNELS)


def dropped_pools(network: Vgg, shape: Shape) -> tuple[int, ...]:
    """The pools that are left out, counted from 1: they would leave less than one pixel.

    Args:
        shape: of a row, before it is laid out as `image_shape` says.
    """
    sides = (network.image_shape or shape)[-2:]
    return tuple(stage for stage in range(1, MOST_POOLS + 1) if min(sides) < 2**stage)


def layers(network: Vgg, norm: NormByKind, shape: Shape) -> Iterator[Asked]:
    """Every layer for rows of `shape`, input side first.

    Five stages of convolutions of 3 x 3, padded by 1, each with a norm and a ReLU behind it in
    the order that `norm.placement` asks for; a largest-value pool of 2 x 2 ends a stage, unless
    it would leave less than one pixel (`dropped_pools`). The average over all positions and one
    linear layer take the place of the paper's three fully connected layers.

    Raises:
        SpecRefused: rows that are no images, or cannot be laid out as `image_shape`.
    """
    yield from _laid_out(network, shape)
    dropped = dropped_pools(network, shape)
    stages = zip(channels(network), _CONVOLUTIONS[network.depth], strict=True)
    for stage, (count, convolutions) in enumerate(stages, 1):
        for _ in range(convolutions):
            yield "network.width", _convolution(network, count)
            yield from (("network.width", layer) for layer in behind_weights(norm, "relu"))
        if stage not in dropped:
            yield "network.depth", Pool(kind="pool", pool="max", kernel_size=2)
    yield "network", Pool(kind="pool", pool="global_avg")
    yield "network", Flatten(kind="flatten")
    yield "network", Linear(kind="linear", out_features=None, bias=True)


def _laid_out(network: Vgg, shape: Shape) -> Iterator[Asked]:
    """What makes images of rows that are none."""
    path, asked = "network.image_shape", network.image_shape
    if asked is None:
        if len(shape) != 3:
            message = (
                f"vgg needs rows of (channels, height, width), it gets {shape}: "
                "say how they are laid out as such"
            )
            raise SpecRefused(path, message, input_shape=list(shape))
        return
    if shape == asked:
        return
    if len(shape) == 3 or prod(shape) != prod(asked):
        message = f"rows of {shape} cannot be laid out as {asked}"
        raise SpecRefused(path, message, input_shape=list(shape), image_shape=list(asked))
    if len(shape) != 1:
        yield path, Flatten(kind="flatten")
    yield path, Unflatten(kind="unflatten", shape=asked)


def _convolution(network: Vgg, count: int) -> Conv2d:
    return Conv2d(kind="conv2d", out_channels=count, kernel_size=3, padding=1, bias=network.bias)
