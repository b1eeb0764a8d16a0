"""Input scaling, fitted on training rows: part of a checkpoint, and applied to every later row.

    y = (x / divisor - shift) / scale            binary: 1 where that is above 0, else 0

Knows nothing of networks or splits; the caller hands over the training rows.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import DTypeLike

from model.data.inputs import blocks

Kind = Literal["standard", "minmax", "binary", "none"]
_PIXEL = 255.0


@dataclass(frozen=True)
class Scaling:
    """A fitted scaling.

    Shape:
        shift, scale: float64, one value per feature in the shape of a row; rows of
        (channels, height, width) have one per channel, in shape (channels, 1, 1).
    """

    kind: Kind
    #: 255 for pixels, else 1.
    divisor: float
    shift: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, kind: Kind, inputs: np.ndarray, images: bool) -> "Scaling":
        """Fit a scaling to the training rows, in float64.

        `standard` gives mean 0 and population deviation 1, `minmax` 0 to 1. A feature without
        spread only loses its value: its scale is 1. `binary` has one threshold for all
        features, the middle between the smallest and the largest of all values.

        Args:
            images: the inputs are uint8 pixels and are divided by 255 first, whatever the kind.

        Shape:
            inputs: (rows, *row), at least one row.
        """
        axes = (0, 2, 3) if inputs.ndim == 4 else (0,)
        divisor = _PIXEL if images else 1.0
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(inputs.shape))[1:]
        if kind == "none":
            return cls(kind, divisor, np.zeros(shape), np.ones(shape))
        if kind == "binary":
            middle = (float(inputs.min()) + float(inputs.max())) / 2
            return cls(kind, divisor, np.full(shape, middle / divisor), np.ones(shape))
        low = inputs.min(axis=axes).astype(np.float64).reshape(shape)
        high = inputs.max(axis=axes).astype(np.float64).reshape(shape)
        shift, scale = (low, high - low) if kind == "minmax" else _moments(inputs, axes, shape)
        # A mean of equal values may miss them by a rounding, and leave a spread of 1e-17.
        constant = low == high
        shift = np.where(constant, low, shift)
        scale = np.where(constant, divisor, scale)
        return cls(kind, divisor, shift / divisor, scale / divisor)

    def apply(self, x: np.ndarray, dtype: DTypeLike = np.float32) -> np.ndarray:
        """Scale rows; the result is a new array of `dtype` (float32 or float64).

        Computed in float64 and rounded once, at the end: equal numbers come out equal whatever
        type held them. Every step is element by element, so a row comes out the same alone or
        in company.

        Shape:
            x: (rows, *row), any real dtype.
        """
        scaled = np.empty(x.shape, dtype)
        for rows in blocks(x):
            values = x[rows].astype(np.float64)
            if self.divisor != 1:
                values /= self.divisor
            values -= self.shift
            values /= self.scale
            scaled[rows] = values > 0 if self.kind == "binary" else values
        return scaled

    def to_json(self) -> dict[str, Any]:
        """Plain values; numbers survive JSON to the last bit."""
        return {
            "kind": self.kind,
            "divisor": self.divisor,
            "shift": self.shift.tolist(),
            "scale": self.scale.tolist(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Scaling":
        """The scaling that `to_json` wrote."""
        shift = np.array(data["shift"], np.float64)
        scale = np.array(data["scale"], np.float64)
        return cls(data["kind"], float(data["divisor"]), shift, scale)

    @classmethod
    def parsed(cls, data: Any) -> "Scaling":
        """A scaling from JSON that anybody may have written. Its shapes are not judged.

        Raises:
            ValueError: what `to_json` would not have written.
        """
        if not isinstance(data, dict) or set(data) != {"kind", "divisor", "shift", "scale"}:
            raise ValueError("a scaling has kind, divisor, shift and scale")
        if data["kind"] not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}")
        divisor, shift, scale = (_numbers(data[name]) for name in ("divisor", "shift", "scale"))
        if divisor.ndim:
            raise ValueError("divisor must be a number")
        return cls(data["kind"], float(divisor), shift, scale)


def _numbers(value: Any) -> np.ndarray:
    try:
        array = np.array(value)
    except (ValueError, OverflowError):  # ragged, or too deep for an array
        array = np.empty(0, object)
    if array.dtype.kind not in "fiu":
        raise ValueError("divisor, shift and scale must be numbers")
    return array.astype(np.float64)


def _moments(
    inputs: np.ndarray, axes: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population deviation; two passes over the rows, some of them at a time."""
    count = inputs.size // int(np.prod(shape))
    total = np.zeros(shape)
    for rows in blocks(inputs):
        total += inputs[rows].sum(axis=axes, dtype=np.float64).reshape(shape)
    mean = total / count
    squares = np.zeros(shape)
    for rows in blocks(inputs):
        squares += np.square(inputs[rows] - mean).sum(axis=axes).reshape(shape)
    return mean, np.sqrt(squares / count)
