"""What the network with one hidden layer looks like before its first step."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn

from model.errors import DeviationZero
from model.lab.ends import End, ends, mini_batches
from model.lab.makemore.arms import STARTS
from model.lab.results import Results, RunResult
from model.measures.flat import TANH
from model.measures.probe import Block
from model.measures.sites import activation_sites, watched
from model.measures.untouched import untouched
from model.training.losses import loss_function

MAP_ROWS = 32  # the notebook's mini-batch


@dataclass(frozen=True)
class StartOf:
    """One start of one seed, over mini-batches as large as those of training."""

    arm: str
    seed: int
    loss: float  # mean over mini-batches
    chance: float  # the loss of equal probabilities, log(classes)
    lowest: float  # of what enters the tanh
    highest: float
    sd: float
    saturated: float  # share of |tanh| > .99
    white: int  # units that are saturated on every row of one mini-batch
    white_everywhere: int  # and on every row that was looked at
    slope: float  # mean of 1 - tanh^2
    map: Tensor  # (rows, units) of one mini-batch, bool


Starts = Sequence[StartOf]


def look_at(results: Results) -> tuple[StartOf, ...]:
    """Every start of every seed whose run counts."""
    found = []
    for arm in STARTS:
        for run in results.of(arm):
            seen = _start(results, run, ends(results, run)[0])
            found += [seen] if seen is not None else []
    return tuple(found)


def _start(results: Results, run: RunResult, end: End) -> StartOf | None:
    blocks = mini_batches(end.rows, run.spec.batch_size)
    try:
        inputs, loss = _passed(end, blocks)
    except DeviationZero:  # eps is 0, and a unit is constant over a mini-batch
        return None
    tanh = inputs.tanh()
    is_flat = tanh.abs() > TANH
    first = is_flat[:MAP_ROWS]
    return StartOf(
        *(run.arm, run.seed, loss, log(results.dataset(run).facts.outputs)),
        *(float(inputs.min()), float(inputs.max()), float(inputs.std(correction=0))),
        saturated=float(is_flat.double().mean()),
        white=int(first.all(0).sum()),
        white_everywhere=int(is_flat.all(0).sum()),
        slope=float((1 - tanh.square()).mean()),
        map=first,
    )


def _passed(end: End, blocks: Sequence[Block]) -> tuple[Tensor, float]:
    """What enters the tanh, (rows, units) float64, and the mean loss, in training mode."""
    network: nn.Module = end.network
    seen, losses = list[Tensor](), list[float]()
    loss = loss_function(end.loss)
    with (
        untouched(network) as same_noise,
        torch.no_grad(),
        watched(activation_sites(network), lambda _, x, __: seen.append(x.double())),
    ):
        same_noise()
        for block in blocks:
            losses.append(float(loss(network(block.inputs), block.targets)))
    return torch.cat(seen), sum(losses) / len(losses)
