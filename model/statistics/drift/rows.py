"""What is kept of a row: two sums per channel, from which the moments of any window follow.

Shape letters: N rows, C channels, * any positions, W windows.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sums:
    """Per channel, the sum of distances from the reference mean and of their squares.

    The distances are taken in float64 before anything is summed, so a window near the
    reference loses nothing to a large mean. A window s standard deviations away loses s^2
    units in the last of 53 bits of its variance: at a thousand of them its score still has
    ten digits.

    Shape:
        first, second: (..., C) float64.
    """

    first: Tensor
    second: Tensor

    @classmethod
    def of_rows(cls, x: Tensor, mean: Tensor) -> "Sums":
        """The sums of each row over its positions.

        Shape:
            x: (N, C) or (N, C, *).
            mean: (C,) float64.
            returns: (N, C).
        """
        wide = x.detach().double()
        if wide.dim() == 2:
            distance = wide - mean
            return cls(distance, distance.square())
        distance = wide.flatten(2) - mean[:, None]
        return cls(distance.sum(2), distance.square().sum(2))

    def divided(self, scale: Tensor) -> "Sums":
        """The sums of the same distances in units of `scale`, which may be negative, (C,)."""
        return Sums(self.first / scale, self.second / scale.square())

    def moments(self, count: int) -> tuple[Tensor, Tensor]:
        """Offset of the mean from the reference, and the unbiased variance; each (..., C).

        Args:
            count: values per channel, at least 2.
        """
        offset = self.first / count
        m2 = self.second - self.first * offset
        return offset, m2.clamp_min(0) / (count - 1)


def positions(x: Tensor) -> int:
    """Values per channel that one row brings."""
    return x[0, 0].numel() if x.dim() > 2 else 1


def joined(sums: list[Sums]) -> Sums:
    """The rows of several, in order."""
    return Sums(torch.cat([s.first for s in sums]), torch.cat([s.second for s in sums]))
