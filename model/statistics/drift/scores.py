"""How far the moments of a window are from reference moments, per channel and per layer.

Shape letters: C channels, ... any windows side by side. Knows nothing of networks.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

#: A variance below this share of the layer's median counts as that much: a dead channel.
LEAST_VARIANCE = 1e-6
#: No channel scores more. A channel whose moments are not finite scores this.
MOST_SCORE = 1e6


@dataclass(frozen=True)
class Reference:
    """The moments of one layer that windows are compared with.

    Shape:
        mean, variance: (C,) float64, finite.
    """

    name: str  # state-dict prefix of the layer
    mean: Tensor
    variance: Tensor

    @property
    def floor(self) -> float:
        """The smallest variance that is told from none.

        LEAST_VARIANCE of the median of the positive variances, or of 1 where none is positive.
        Without it a channel that is constant in one of both would be infinitely far.
        """
        positive = self.variance[self.variance > 0]
        median = float(positive.median()) if len(positive) else 1.0
        return max(LEAST_VARIANCE * median, torch.finfo(torch.float64).tiny)

    def to_json(self) -> dict[str, Any]:
        """Plain values; numbers survive JSON to the last bit."""
        return {
            "name": self.name,
            "mean": self.mean.tolist(),
            "variance": self.variance.tolist(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Reference":
        """The reference that `to_json` wrote."""
        mean, variance = (torch.tensor(data[key], dtype=torch.float64) for key in _VECTORS)
        return cls(data["name"], mean, variance)


_VECTORS = ("mean", "variance")


@dataclass(frozen=True)
class Channel:
    """One channel of a window against the reference."""

    channel: int
    score: float
    z: float  # offset of the mean in standard errors of a mean over so many rows
    offset: float  # of the mean, in standard deviations of the reference
    variance_ratio: float  # window over reference

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values; a number that is not finite is None."""
        values = {"z": self.z, "offset": self.offset, "variance_ratio": self.variance_ratio}
        plain = {name: value if _is_finite(value) else None for name, value in values.items()}
        return {"channel": self.channel, "score": self.score, **plain}


def channel_scores(reference: Reference, offset: Tensor, variance: Tensor) -> Tensor:
    """Symmetric Kullback-Leibler divergence per channel between two normal distributions.

        J = (KL(p || q) + KL(q || p)) / 2
          = ((r - 1)^2 / r + d^2 / v (1 + 1 / r)) / 4

    with p = N(m, v) the reference, q = N(m + d, r v) the window. Both variances are at least
    `reference.floor`, so a channel that is constant in both scores 0 when its value is the
    same, and a channel that comes alive scores much, but never infinity: the result is at most
    MOST_SCORE, and that too where a moment of the window is not finite.

    Args:
        offset: mean of the window minus the reference mean.
        variance: of the window.

    Shape:
        offset, variance: (..., C).
        returns: (..., C), 0 to MOST_SCORE.

    Kullback and Leibler 1951, On Information and Sufficiency.
    """
    floor = reference.floor
    v = reference.variance.clamp_min(floor)
    ratio = variance.clamp_min(floor) / v
    spread = (ratio - 1).square() / ratio
    moved = offset.square() / v * (1 + 1 / ratio)
    score = (spread + moved) / 4
    return score.nan_to_num(nan=MOST_SCORE, posinf=MOST_SCORE).clamp_max(MOST_SCORE)


def top_channels(
    reference: Reference, offset: Tensor, variance: Tensor, rows: int, most: int
) -> tuple[Channel, ...]:
    """The channels that score most, the highest first; of equals the lowest index.

    Args:
        rows: of the window. Positions of one row are not independent, so a standard error is
            sqrt(variance / rows) however many positions a row has.
        most: how many channels at most.

    Shape:
        offset, variance: (C,), as for `channel_scores`.
    """
    scores = channel_scores(reference, offset, variance)
    order = scores.argsort(descending=True, stable=True)[:most]
    v = reference.variance.clamp_min(reference.floor)[order]
    offsets = offset[order] / v.sqrt()
    ratios = variance[order].clamp_min(reference.floor) / v
    columns = (order, scores[order], offsets * rows**0.5, offsets, ratios)
    return tuple(
        Channel(*values) for values in zip(*(column.tolist() for column in columns), strict=True)
    )


def _is_finite(value: float) -> bool:
    return abs(value) < float("inf")
