"""How many rows a trained network gets wrong, by whose statistics it normalizes.

Errors are percent of the rows; one whose logits are not finite is wrong. Networks are left as they
are, and nothing is drawn from the global generators.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from model.checkpoint import Loaded
from model.lab.arms import POINTS
from model.lab.results import Start
from model.measures.untouched import Again, untouched
from model.statistics.modes import batch_norms, batch_statistics
from model.statistics.population import Statistics, precise
from model.training.arrays import Part
from model.training.evaluate import count_correct

#: The loss of every spec: numbers instead of classes are then refused before anything is trained.
CLASSES = {"kind": "cross_entropy"}
#: Why a part of a single row has no error by the statistics of its groups.
ONE_ROW = "one row has no batch statistics"
MOST_POPULATION_ROWS = 4_000  # Wu and Johnson 2021, section 3: 1,000 to 10,000 are enough


def held_out(start: Start) -> Part:
    """The test rows, or where there are none those trained on: what networks are judged by.

    Every plan that asks for this has `CLASSES` in its specs, so that they have classes.
    """
    arrays = start.arrays
    return arrays.test if len(arrays.test) else arrays.train


def in_eval(network: nn.Module, part: Part, block_rows: int) -> float:
    """With the running statistics.

    Args:
        part: rows with classes.
        block_rows: rows that pass through the network at once.
    """
    with torch.inference_mode():
        logits = [network.eval()(block) for block in part.inputs.split(block_rows)]
    return _percent(part, torch.cat(logits), torch.arange(len(part)))


def in_groups(network: nn.Module, part: Part, groups: Sequence[Tensor]) -> float:
    """With the statistics of every group of rows, as PyTorch's training mode takes them.

    What some norms add to that in training mode is left out: see `batch_statistics`.

    Args:
        groups: row indices, at least two rows in each.
    """
    with batch_statistics(network), torch.inference_mode():
        logits = [network(part.inputs[group]) for group in groups]
    return _percent(part, torch.cat(logits), torch.cat(list(groups)))


def in_training(network: nn.Module, part: Part, groups: Sequence[Tensor]) -> float:
    """In training mode, group by group, each with the running statistics as they came.

    Args:
        groups: row indices, at least two rows in each; a row may be in several groups.
    """
    copied = deepcopy(network).train()
    with untouched(copied) as begin, torch.no_grad():
        logits = [_afresh(begin, copied, part.inputs[group]) for group in groups]
    return _percent(part, torch.cat(logits), torch.cat(list(groups)))


def recomputed(loaded: Loaded, start: Start) -> nn.Module:
    """A copy of the network whose statistics are those of training rows: `precise`.

    Of more rows than 4,000, as many are drawn by the seed of the run.
    """
    seed = loaded.spec.seed
    rows = start.arrays.train.inputs
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    batches = rows[order[:MOST_POPULATION_ROWS]].split(loaded.block_rows)
    return with_statistics(loaded.network, precise(loaded.network, batches))


def with_statistics(network: nn.Module, statistics: dict[str, Statistics]) -> nn.Module:
    """A copy of the network with these statistics in its batch norms."""
    copied = deepcopy(network)
    norms = batch_norms(copied)
    for name, found in statistics.items():
        found.put_into(norms[name])
    return copied


def _afresh(begin: Again, network: nn.Module, rows: Tensor) -> Tensor:
    begin()
    logits: Tensor = network(rows)
    return logits


def _percent(part: Part, logits: Tensor, rows: Tensor) -> float:
    assert part.classes is not None
    return POINTS * (1 - count_correct(logits, part.classes[rows]) / len(rows))
