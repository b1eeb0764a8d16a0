"""Shifts of the inputs, at five severities, in units of each feature's range in training rows.

With low and high the smallest and largest value of a feature (of images: of a channel):

    contrast  x <- c * x + (1 - c) * (low + high) / 2
    offset    x <- x + c * (high - low)
    noise     x <- x + c * (high - low) * e,  e ~ N(0, 1)
    blur      x <- the mean over neighbours, weighted by exp(-distance^2 / (2 s^2)), s = c * side

Nothing is clipped. The shifts are those of Hendrycks and Dietterich 2019 in kind, not in size:
https://arxiv.org/abs/1903.12261
"""

from dataclasses import dataclass
from math import ceil, isqrt
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from model.data.scaling import Scaling
from model.lab.results import Start
from model.training.arrays import Part
from model.training.randomness import stream

Corruption = Literal["contrast", "offset", "noise", "blur"]
SIZES: dict[Corruption, tuple[float, ...]] = {
    "contrast": (0.8, 0.6, 0.45, 0.3, 0.2),
    "offset": (0.1, 0.2, 0.3, 0.4, 0.5),
    "noise": (0.1, 0.2, 0.3, 0.4, 0.5),
    "blur": (0.05, 0.075, 0.1, 0.125, 0.15),
}
SEVERITIES = range(1, 6)
WIDE = 3.0  # deviations of a blur beyond which nothing counts


@dataclass(frozen=True)
class Shifts:
    """What the corruptions of one run's rows need to know of it."""

    low: Tensor  # per feature, or (channels, 1, 1), scaled
    high: Tensor
    scaling: Scaling
    image_shape: tuple[int, int, int] | None  # as which rows can be blurred
    seed: int

    @classmethod
    def of(cls, start: Start) -> "Shifts":
        """Those of a run, from its training rows."""
        rows = start.arrays.train.inputs
        axes = (0, 2, 3) if rows.dim() == 4 else (0,)
        low, high = rows.amin(axes, keepdim=True)[0], rows.amax(axes, keepdim=True)[0]
        seed = start.checked.spec.seed
        return cls(low, high, start.arrays.scaling, _image_shape(rows), seed)

    def known(self) -> list[Corruption]:
        """The corruptions that these rows can have."""
        return [one for one in SIZES if one != "blur" or self.image_shape is not None]

    def apply(self, corruption: Corruption, severity: int, part: Part) -> Part:
        """Corrupt rows, the same way at every call.

        Args:
            severity: 1 to 5.
        """
        size = SIZES[corruption][severity - 1]
        return Part(self._inputs(corruption, size, part.inputs), part.targets, part.classes)

    def _inputs(self, corruption: Corruption, size: float, x: Tensor) -> Tensor:
        middle, width = (self.low + self.high) / 2, self.high - self.low
        if corruption == "contrast":
            return size * x + (1 - size) * middle
        if corruption == "offset":
            return x + size * width
        if corruption == "noise":
            generator = stream(self.seed, "measures")
            return x + size * width * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        return self._blurred(size, x)

    def _blurred(self, size: float, x: Tensor) -> Tensor:
        """Of the rows as they were before the scaling, which may differ from pixel to pixel."""
        assert self.image_shape is not None
        fitted = (self.scaling.shift, self.scaling.scale)
        shift, scale = (torch.from_numpy(one).to(x.dtype) for one in fitted)
        images = (x * scale + shift).reshape(len(x), *self.image_shape)
        blurred = gaussian_blur(images, size * self.image_shape[-1]).reshape(x.shape)
        return (blurred - shift) / scale


def gaussian_blur(images: Tensor, deviation: float) -> Tensor:
    """Blur along both axes; beyond an edge its pixels go on.

    Args:
        deviation: of the weights, in pixels.

    Shape:
        images: (n, channels, height, width); returns the same.
    """
    reach = min(max(1, ceil(WIDE * deviation)), *(side - 1 for side in images.shape[2:]))
    places = torch.arange(-reach, reach + 1, dtype=images.dtype)
    weights = torch.exp(-places.square() / (2 * deviation**2))
    weights = weights / weights.sum()
    channels = images.shape[1]
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    across = weights.view(1, 1, 1, -1).expand(channels, -1, -1, -1)
    down = weights.view(1, 1, -1, 1).expand(channels, -1, -1, -1)
    rows = functional.conv2d(padded, across, groups=channels)
    return functional.conv2d(rows, down, groups=channels)


def _image_shape(rows: Tensor) -> tuple[int, int, int] | None:
    """As which images rows can be seen: features whose count is a square are one."""
    if rows.dim() == 4:
        channels, height, width = rows.shape[1:]
        return (channels, height, width) if min(height, width) > 1 else None
    side = isqrt(rows[0].numel())
    return (1, side, side) if side > 1 and side * side == rows[0].numel() else None
