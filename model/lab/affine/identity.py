"""A batch norm that changes nothing: gain and bias undo what it does to given rows.

With weight = sqrt(var + eps) and bias = mean, of the mean and the variance over n of the very
rows, batch norm is the identity, so that a network with such norms is the one without.

Ioffe and Szegedy 2015, section 3: https://arxiv.org/abs/1502.03167
"""

from copy import deepcopy
from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor, nn

from model.lab.affine.plan import BATCH_SIZE, Side
from model.lab.results import NO_LIMITS, Results, RunResult
from model.measures.probe import MOST_ROWS
from model.measures.rows import rows_of
from model.measures.sites import weight_sites
from model.networks.build import build
from model.norms.batch import BatchNorm
from model.plan import check
from model.statistics.modes import batch_statistics
from model.training.evaluate import are_correct


@dataclass(frozen=True)
class Identity:
    """A trained network without norm, and the same with a batch norm put into it. All in float64.

    Differences are the largest of any logit, over the largest logit of the network without norm.
    """

    seed: int
    rows: int  # training rows, at most 2,000, from all of which the norm takes its statistics
    same_rows: float  # difference on these rows, by their own statistics
    held_out: float  # on the test rows, by the same statistics as running ones
    mini_batch: float  # on the first few training rows, by their own statistics
    without: float  # on the training rows, without the gain and the bias
    accuracy: float  # on the training rows, 0 to 1
    accuracy_without: float


def identity_of(results: Results, run: RunResult, placement: Side) -> Identity | None:
    """The check on one finished run without norm; None where it has no checkpoint."""
    loaded = results.trained(run)
    if loaded is None:
        return None
    start = results.start(run)
    part, held = start.arrays.train, start.arrays.test
    index = rows_of(start.checked, part).order[:MOST_ROWS]
    train, test = part.inputs[index].double(), held.inputs[:MOST_ROWS].double()
    assert part.classes is not None
    classes = part.classes[index]
    bare = deepcopy(loaded.network).double().eval()
    normed = _normed(run, results, bare, placement)
    with torch.no_grad():
        _undo(normed, train)
        before, held_out = bare(train), bare(test)
        stripped = _without_gain_and_bias(normed)
        with batch_statistics(normed):
            after, few = normed(train), normed(train[:BATCH_SIZE])
        with batch_statistics(stripped):
            left = stripped(train)
        return Identity(
            seed=run.seed,
            rows=len(train),
            same_rows=_apart(after, before),
            held_out=_apart(normed.eval()(test), held_out),
            mini_batch=_apart(few, before[:BATCH_SIZE]),
            without=_apart(left, before),
            accuracy=_accuracy(before, classes),
            accuracy_without=_accuracy(left, classes),
        )


def _normed(run: RunResult, results: Results, bare: nn.Module, placement: Side) -> nn.Sequential:
    """The same layers with the same weights, and batch norms between them."""
    norm = {"kind": "batch", "placement": placement}
    body = run.spec.model_dump(mode="json") | {"norm": norm}
    facts = results.dataset(run).facts
    checked = check(type(run.spec).model_validate(body), facts, NO_LIMITS)
    network = build(checked.plan, dtype=torch.float64)
    for ours, theirs in zip(weight_sites(network), weight_sites(bare), strict=True):
        ours.module.load_state_dict(theirs.module.state_dict())
    return network


def _undo(network: nn.Sequential, rows: Tensor) -> None:
    """Give every norm the gain, bias and running statistics with which it changes nothing."""
    for module in network:
        if isinstance(module, BatchNorm):
            var, mean = torch.var_mean(rows, 0, correction=0)
            module.running_mean.copy_(mean)
            module.running_var.copy_(var)
            _set(module, (var + module.eps).sqrt(), mean)
        else:  # what leaves a norm is what entered it
            rows = module(rows)


def _without_gain_and_bias(network: nn.Sequential) -> nn.Sequential:
    stripped = deepcopy(network)
    for module in stripped:
        if isinstance(module, BatchNorm):
            _set(module, torch.ones(()), torch.zeros(()))
    return stripped


def _set(norm: BatchNorm, gain: Tensor, bias: Tensor) -> None:
    assert norm.weight is not None
    assert norm.bias is not None
    norm.weight.copy_(gain)
    norm.bias.copy_(bias)


def _apart(one: Tensor, other: Tensor) -> float:
    if not len(other):
        return nan
    return float((one - other).abs().max() / other.abs().max())


def _accuracy(logits: Tensor, classes: Tensor) -> float:
    return float(are_correct(logits, classes).double().mean())
