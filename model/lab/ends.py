"""The network of a run at its start and at its end, as training has it, to be looked at."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from model.lab.results import Results, RunResult
from model.measures.probe import Block
from model.measures.rows import Rows, rows_of
from model.measures.shadow import shadow
from model.training.losses import LossKind

When = Literal["start", "end"]


@dataclass(frozen=True)
class End:
    """A network at one end of a run."""

    when: When
    step: int  # optimizer steps done
    network: nn.Module  # a copy in training mode: it normalizes by the block at hand
    rows: Rows  # all training rows, in an order of the run's seed
    loss: LossKind


def ends(results: Results, run: RunResult) -> tuple[End, ...]:
    """Before the first step and, where a checkpoint was kept, after the last one."""
    start = results.start(run)
    loss = start.checked.spec.loss
    assert loss is not None
    rows = rows_of(start.checked, start.arrays.train)
    first = End("start", 0, shadow(start.network), rows, loss.kind)
    last = results.trained(run)
    if last is None or last.step == 0:
        return (first,)
    # A loaded network asks for no gradient.
    network = shadow(last.network).requires_grad_()
    return (first, End("end", last.step, network, rows, loss.kind))


def mini_batches(rows: Rows, size: int) -> tuple[Block, ...]:
    """The fixed rows in mini-batches of one size; what is left over is not taken."""
    inputs = torch.cat([block.inputs for block in rows.fixed])
    targets = torch.cat([block.targets for block in rows.fixed])
    whole = max(1, len(inputs) // size) * size
    pairs = zip(inputs[:whole].split(size), targets[:whole].split(size), strict=True)
    return tuple(Block(x, y) for x, y in pairs)
