"""The order in which rows are trained on: batches as slices of one index tensor an epoch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

BLOCK_BYTES = 2**20  # stays in the cache until it is trained on; larger ones were slower


@dataclass(frozen=True)
class Epoch:
    """Row indices of one epoch and how they fall into batches."""

    rows: Tensor  # int64, the order
    sizes: tuple[int, ...]  # rows per batch; sums to len(rows)


class Order:
    """Draws one epoch after another from the run's own generator.

    Args:
        num_rows: training rows.
        sizes: rows of every batch of an epoch.
        sampling: every row once an epoch, or independent draws.
        generator: CPU generator of this run's order.
    """

    def __init__(
        self,
        num_rows: int,
        sizes: tuple[int, ...],
        sampling: Literal["permutation", "with_replacement"],
        generator: torch.Generator,
    ) -> None:
        self.num_rows = num_rows
        self.sampling = sampling
        self.sizes = sizes
        self.generator = generator

    def epoch(self) -> Epoch:
        """The next epoch; moves the generator."""
        used = sum(self.sizes)
        if self.sampling == "permutation":
            rows = torch.randperm(self.num_rows, generator=self.generator)[:used]
        else:
            rows = torch.randint(self.num_rows, (used,), generator=self.generator)
        return Epoch(rows, self.sizes)


def batches(
    inputs: Tensor, targets: Tensor, epoch: Epoch, start: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches `start`, `start + 1`, ... of an epoch.

    Rows are gathered a block at a time, which costs less than once a batch. Blocks begin
    where they would have begun without `start`: a batch then lies at the same offset from
    an aligned address in a resumed run as in an undisturbed one, and matrix kernels, which
    may sum in another order elsewhere, give the same bits.
    """
    row_bytes = inputs[0].numel() * inputs.element_size()
    length = max(1, BLOCK_BYTES // (row_bytes * max(epoch.sizes)))
    row = 0
    for first in range(0, len(epoch.sizes), length):
        block = epoch.sizes[first : first + length]
        skip = max(0, start - first)
        if skip < len(block):
            index = epoch.rows[row : row + sum(block)].to(inputs.device)
            x, y = inputs[index].split(block), targets[index].split(block)
            yield from zip(x[skip:], y[skip:], strict=True)
        row += sum(block)
