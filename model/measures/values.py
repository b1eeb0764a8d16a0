"""The values of a layer's units over all rows, where moments do not say enough.

Shape letters: n rows, U units or channels, * any positions, M values of one unit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.measures.probe import Block

MOST_VALUES = 4_096  # of one unit that has several positions in a row: enough for percentiles


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the indices below `count`, evenly spread, ascending, from 0 on."""
    if count <= most:
        return list(range(count))
    return [index * count // most for index in range(most)]


def some_positions(x: Tensor, rows: int, number: int) -> Tensor:
    """One block's values, (n, U, P): every row at some positions, where it has any.

    A unit with one value a row keeps them all. Where a row has many positions, as many are taken
    as give a unit about 4,096 values over all rows, and at least one: evenly spread from a place
    that is drawn for each row, so that all rows together show every part of an image. All units
    of a row have the same ones, and so has the block whenever it passes.

    Shape:
        x: (n, U) or (n, U, *); shares its memory where nothing is left out.

    Args:
        rows: of all blocks together.
        number: of the block among them, which the places are drawn from.
    """
    if x.dim() == 2:
        return x.detach()[:, :, None]
    flat = x.detach().flatten(2)
    count = flat.shape[2]
    spread = torch.tensor(evenly(count, max(1, MOST_VALUES // rows)))
    if len(spread) == count:
        return flat
    generator = torch.Generator().manual_seed(number)
    places = (torch.randint(count, (len(x), 1, 1), generator=generator) + spread) % count
    return flat.gather(2, places.expand(-1, flat.shape[1], -1).to(flat.device))


def by_unit(parts: Sequence[Tensor]) -> Tensor:
    """All values of each unit, (U, M), from blocks as `some_positions` gives them."""
    return torch.cat([part.transpose(0, 1).flatten(1) for part in parts], 1)


def sorted_values(values: Tensor) -> Tensor:
    """Each row of (U, M) in ascending order, NaN last."""
    if values.device.type != "cpu":
        return values.sort(1).values
    # numpy sorts rows of a few thousand numbers several times as fast as torch does on a CPU.
    return torch.from_numpy(np.sort(values.numpy(), axis=1))


def leading(blocks: Sequence[Block], most: int) -> tuple[Block, ...]:
    """The first blocks, whole, up to `most` rows; of a first one that has more, its first rows.

    A block is never cut but for that one, so that none of a single row comes about, which a
    batch norm could not normalize.
    """
    first = blocks[0]
    if len(first.inputs) >= most:
        return (Block(first.inputs[:most], first.targets[:most]),)
    taken, rows = [], 0
    for block in blocks:
        rows += len(block.inputs)
        if rows > most:
            break
        taken.append(block)
    return tuple(taken)


def count_rows(blocks: Sequence[Block]) -> int:
    """Rows of all blocks together."""
    return sum(len(block.inputs) for block in blocks)


def told_rows(blocks: Sequence[Block]) -> dict[str, Any]:
    """What a reading says of its rows: how many, and how many of them at most passed at once."""
    return {"rows": count_rows(blocks), "block_rows": max(len(one.inputs) for one in blocks)}
