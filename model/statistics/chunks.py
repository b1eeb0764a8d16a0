"""Which rows a probe looks at, and which of them are normalized together.

Never in file order: in a file that is sorted by class, batch statistics tell the class.
"""

from math import prod

import torch
from torch import Tensor

from model.sizes import Plan

MOST_ROWS = 10_000  # of a probe
CHUNK_ROWS = 1_000  # fewer give statistics whose own noise costs accuracy
LEAST_CHUNK_ROWS = 32  # even of rows so wide that training takes less
MOST_BYTES = 5 * 2**29  # that one chunk may take
LIVE_TENSORS = 5  # a layer's input and output, a short cut, two terms of a norm's formulas


def choose_rows(count: int, generator: torch.Generator) -> Tensor:
    """At most 10,000 of `count` row indices, in random order, int64.

    Args:
        generator: of the CPU; moves by one permutation. Equal states choose equal rows.
    """
    return torch.randperm(count, generator=generator)[:MOST_ROWS]


def chunks(rows: Tensor, size: int) -> list[Tensor]:
    """Consecutive pieces of `size` rows; a short last one is merged into the one before."""
    count = max(1, len(rows) // size)
    return list(rows.tensor_split([size * index for index in range(1, count)]))


def chunk_rows(planned: Plan, item_bytes: int) -> int:
    """Rows of one chunk: 1,000, or what fits into 2.5 GiB where rows are very wide.

    A chunk passes through the network at once, for its statistics are those of all its rows,
    and a merged one has up to twice the rows. Without gradients only a few tensors live at a
    time, so the bound is on five times the widest one. Where it bites, rows are images of many
    positions, and a channel still has more values than 1,000 plain rows give it.

    Args:
        item_bytes: size of one value.
    """
    widest = max(max(prod(layer.input_shape), prod(layer.output_shape)) for layer in planned.walk())
    fitting = MOST_BYTES // (2 * LIVE_TENSORS * widest * item_bytes)
    return max(LEAST_CHUNK_ROWS, min(CHUNK_ROWS, fitting))
