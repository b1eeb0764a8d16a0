"""The rolling window: sums of the last rows in blocks, so that its memory does not grow.

Shape letters: B blocks, C channels of all layers side by side, K classes.
"""

import torch
from torch import Tensor

from model.statistics.drift.rows import Sums
from model.statistics.drift.thresholds import SMALLEST


class Blocks:
    """The last rows in blocks of SMALLEST, and one more that fills.

    Args:
        most_rows: of the largest window; a multiple of SMALLEST.
        channels: C.
        classes: K; 0 counts nothing.
    """

    def __init__(self, most_rows: int, channels: int, classes: int) -> None:
        self._ring = torch.zeros(most_rows // SMALLEST, 2 * channels + classes, dtype=torch.float64)
        self._filling = torch.zeros(2 * channels + classes, dtype=torch.float64)
        self._in_filling = 0  # rows in the block that fills
        self._complete = 0  # blocks completed since the start
        self._channels = channels

    @property
    def most_rows(self) -> int:
        """Rows of the largest window."""
        return len(self._ring) * SMALLEST

    @property
    def rows(self) -> int:
        """Rows of the largest window that there is now."""
        return min(self._complete, len(self._ring)) * SMALLEST

    def surplus(self, rows: int) -> int:
        """How many of so many new rows, the first of them, no window will see: whole blocks."""
        return max(0, rows - self.most_rows - SMALLEST) // SMALLEST * SMALLEST

    def add(self, sums: Sums, counts: Tensor) -> None:
        """Append rows in the order in which they came.

        Shape:
            sums: (rows, C), on the CPU.
            counts: (rows, K), 1 at the predicted class.
        """
        rows = torch.cat([sums.first, sums.second, counts.double()], 1)
        rows = rows[self.surplus(len(rows)) :]
        of_row = (self._in_filling + torch.arange(len(rows))) // SMALLEST
        full, rest = divmod(self._in_filling + len(rows), SMALLEST)
        blocks = torch.zeros(full + 1, rows.shape[1], dtype=torch.float64)
        blocks.index_add_(0, of_row, rows)
        blocks[0] += self._filling
        slots = (self._complete + torch.arange(full)) % len(self._ring)
        kept = slice(max(0, full - len(self._ring)), full)
        self._ring[slots[kept]] = blocks[kept]
        self._filling, self._in_filling = blocks[-1].clone(), rest
        self._complete += full

    def window(self, size: int) -> tuple[Sums, Tensor]:
        """The sums (C,) and the class counts (K,) of the last `size` rows of complete blocks.

        Args:
            size: a multiple of SMALLEST, at most `rows`.
        """
        newest = self._complete - 1 - torch.arange(size // SMALLEST)
        total = self._ring[newest % len(self._ring)].sum(0)
        first, second, counts = total.tensor_split([self._channels, 2 * self._channels])
        return Sums(first, second), counts
