"""The training rows that measures look at: the same ones in every probe of a run."""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.blocks import block_rows
from model.measures.probe import MOST_ROWS, Block
from model.memory import item_bytes
from model.plan import Checked
from model.training.arrays import Part
from model.training.randomness import stream


@dataclass(frozen=True)
class Rows:
    """Training rows in an order drawn once for the run.

    The order is random because batch norm in training mode normalizes each block by itself: of
    rows sorted by class, a block would be all of one class.
    """

    part: Part  # all training rows
    order: Tensor  # (rows,) int64: all of them
    size: int  # most rows of a block: as many as training passes at once, or more
    fixed: tuple[Block, ...]  # the first 2,000

    @property
    def all(self) -> tuple[Block, ...]:
        """Every training row, gathered anew; the fixed ones where there are no others."""
        return self.fixed if len(self.part) <= MOST_ROWS else _blocks(self)


def rows_of(checked: Checked, train: Part) -> Rows:
    """The rows of one run; draws from a stream of its own.

    A block is that of an evaluation, or as large as a training batch where that is larger: in
    training mode a batch norm takes its statistics from it.
    """
    spec = checked.spec
    order = torch.randperm(len(train), generator=stream(spec.seed, "measures"))
    size = max(block_rows(checked.plan, item_bytes(spec)), checked.batches.largest)
    some = Rows(train, order[:MOST_ROWS], size, ())
    return Rows(train, order, size, _blocks(some))


def _blocks(rows: Rows) -> tuple[Block, ...]:
    """Blocks of nearly equal size: one row alone has no batch statistics."""
    index = rows.order.to(rows.part.inputs.device)
    count = -(-len(index) // rows.size)
    inputs = rows.part.inputs[index].tensor_split(count)
    targets = rows.part.targets[index].tensor_split(count)
    return tuple(Block(x, y) for x, y in zip(inputs, targets, strict=True))
