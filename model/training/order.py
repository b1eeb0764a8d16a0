"""The order in which rows are trained on: batches as slices of one index tensor an epoch."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from model.spec import RunSpec
from model.spec.run import Sampling
from model.training.arrays import Part
from model.training.randomness import stream

BLOCK_BYTES = 2**20  # stays in the cache until it is trained on; larger ones were slower


@dataclass(frozen=True)
class Epoch:
    """Row indices of one epoch and how they fall into batches."""

    rows: Tensor  # int64, the order
    sizes: tuple[int, ...]  # rows per batch; sums to len(rows)


class Order:
    """Draws one epoch after another from the run's own generator.

    With `class_sorted` an epoch is a permutation that is then sorted by class and turned by a
    random number of rows; whole batches come in random order, a shorter one last.

    Args:
        num_rows: training rows.
        sizes: rows of every batch of an epoch; only the last may differ from the first.
        sampling: every row once an epoch, in what company, or independent draws.
        generator: CPU generator of this run's order.
        classes: (num_rows,) int64; `class_sorted` alone reads them.
    """

    def __init__(
        self,
        num_rows: int,
        sizes: tuple[int, ...],
        sampling: Sampling,
        generator: torch.Generator,
        classes: Tensor | None = None,
    ) -> None:
        self.num_rows = num_rows
        self.sampling = sampling
        self.sizes = sizes
        self.generator = generator
        self.classes = None if classes is None else classes.cpu()

    def epoch(self) -> Epoch:
        """The next epoch; moves the generator."""
        used = sum(self.sizes)
        if self.sampling == "permutation":
            rows = torch.randperm(self.num_rows, generator=self.generator)[:used]
        elif self.sampling == "class_sorted":
            rows = self._class_sorted()[:used]
        else:
            rows = torch.randint(self.num_rows, (used,), generator=self.generator)
        return Epoch(rows, self.sizes)

    def _class_sorted(self) -> Tensor:
        assert self.classes is not None
        rows = torch.randperm(self.num_rows, generator=self.generator)
        rows = rows[torch.sort(self.classes[rows], stable=True).indices]
        turned = torch.randint(self.num_rows, (), generator=self.generator)
        rows = rows.roll(int(turned))
        whole = sum(size == self.sizes[0] for size in self.sizes)
        batches = rows[: whole * self.sizes[0]].view(whole, -1)
        batches = batches[torch.randperm(whole, generator=self.generator)]
        return torch.cat([batches.flatten(), rows[whole * self.sizes[0] :]])


def order_of(spec: RunSpec, sizes: tuple[int, ...], train: Part) -> Order:
    """The order in which a run trains on its rows, before its first epoch."""
    generator = stream(spec.seed, "order")
    return Order(len(train), sizes, spec.sampling, generator, train.classes)


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
