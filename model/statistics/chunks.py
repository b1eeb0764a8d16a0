"""Which rows a probe looks at, and which of them are normalized together.

Never in file order: in a file that is sorted by class, batch statistics tell the class.
"""

import torch
from torch import Tensor

from model.blocks import MOST_SCORED_ROWS


def choose_rows(count: int, generator: torch.Generator) -> Tensor:
    """At most 10,000 of `count` row indices, in random order, int64.

    Args:
        generator: of the CPU; moves by one permutation. Equal states choose equal rows.
    """
    return torch.randperm(count, generator=generator)[:MOST_SCORED_ROWS]


def chunks(rows: Tensor, size: int) -> list[Tensor]:
    """Consecutive pieces of `size` rows; a short last one is merged into the one before."""
    count = max(1, len(rows) // size)
    return list(rows.tensor_split([size * index for index in range(1, count)]))
