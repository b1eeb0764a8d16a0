"""Count, mean and sum of squared deviations per channel, gathered block by block.

Shape letters: N rows, C channels, * any positions (none, length, or height and width).
Knows nothing of networks: who gathers what is the caller's concern.
"""

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

MOST_VALUES = 2**23  # widened to float64 at once


@dataclass(frozen=True)
class Moments:
    """What a mean and a variance per channel need, in float64 whatever the rows are.

    Squares are only ever taken of distances from a mean, so a large mean does not swallow a
    small variance. Two Moments merge into that of all their values, in any order.

    Chan, Golub and LeVeque 1983, Algorithms for computing the sample variance.
    """

    count: int  # values per channel: rows times positions
    mean: Tensor  # (C,) float64; 0 while count is 0
    m2: Tensor  # (C,) float64, sum of squared distances from the mean

    @classmethod
    def empty(cls, channels: int, device: torch.device | str | None = None) -> "Moments":
        """The moments of no value: merging them changes nothing."""
        zeros = torch.zeros(channels, dtype=torch.float64, device=device)
        return cls(0, zeros, zeros.clone())

    @classmethod
    def of(cls, x: Tensor) -> "Moments":
        """The moments of one block, in two passes; of a large one part by part.

        Shape:
            x: (N, C) or (N, C, *), any real dtype.

        Raises:
            ValueError: x has no channel axis.
        """
        if x.dim() < 2:
            raise ValueError(f"expected shape (N, C) or (N, C, *), got {tuple(x.shape)}")
        channels = x.shape[1]
        if x.numel() == 0:
            return cls.empty(channels, x.device)
        if x.numel() > MOST_VALUES and len(x) > 1:
            parts = x.split(max(1, len(x) * MOST_VALUES // x.numel()))
            return reduce(cls.merged, map(cls.of, parts))
        values = x.detach().double().transpose(0, 1).reshape(channels, -1)
        count = values.shape[1]
        mean = values.mean(1)
        distances = values - mean[:, None]
        # The rounded mean misses the true one a little; what is left corrects both.
        rest = distances.sum(1)
        m2 = distances.square().sum(1) - rest.square() / count
        return cls(count, mean + rest / count, m2.clamp_min(0))

    def merged(self, other: "Moments") -> "Moments":
        """The moments of the values of both."""
        count = self.count + other.count
        if count == 0:
            return self
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        between = apart.square() * (self.count * other.count / count)
        return Moments(count, mean, self.m2 + other.m2 + between)

    def variance(self, correction: int = 1) -> Tensor:
        """m2 / (count - correction), (C,) float64.

        Args:
            correction: 1 for the unbiased variance, 0 for the biased.

        Raises:
            ValueError: too few values to divide by.
        """
        if self.count <= correction:
            raise ValueError(f"a variance over n - {correction} of {self.count} values")
        return self.m2 / (self.count - correction)
