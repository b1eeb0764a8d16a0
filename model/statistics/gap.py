"""What eval mode costs: the same rows with running and with batch statistics, layer by layer.

A gap is positive where eval mode is worse. Points are hundredths of accuracy.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from model.blocks import CHUNK_ROWS
from model.errors import DeviationZero
from model.findings import Finding
from model.norms.batch import BatchNorm
from model.statistics.chunks import choose_rows, chunks
from model.statistics.mcnemar import mcnemar
from model.statistics.modes import batch_statistics, running_norms
from model.training.arrays import Part
from model.training.evaluate import are_correct, loss_per_row
from model.training.losses import LossKind

WARN_POINTS = 2.0  # a smaller gap is not worth a warning
WARN_P = 0.01  # nor one that chance explains
_REMEDY = "Recalibrate: POST /v1/checkpoints/{id}/recalibrate; no weight has to change."


@dataclass(frozen=True)
class Score:
    """One way of evaluating the rows."""

    loss: float  # per row
    correct: int | None  # rows; None for regression


@dataclass(frozen=True)
class LayerPart:
    """What one layer adds to the gap when it joins those before it on batch statistics."""

    layer: str  # state-dict prefix
    points: float | None  # None for regression
    loss: float


@dataclass(frozen=True)
class Gap:
    """Running against batch statistics on the same rows."""

    rows: int
    chunk_rows: int  # rows that are normalized together; the last chunk may have more
    running: Score
    batch: Score
    only_running: int | None  # rows that running statistics alone get right
    only_batch: int | None  # rows that batch statistics alone get right
    layers: tuple[LayerPart, ...]  # in network order; their sums are `points` and `loss`
    batch_size: int | None  # of the run, where it was asked for and its batches can be had
    small: Score | None  # with the statistics of batches of that size
    recalibrates: bool = True  # whether rows can give the network other statistics

    @property
    def points(self) -> float | None:
        """`train_eval_gap`, in points of accuracy; None for regression."""
        return _points(self.batch, self.running, self.rows)

    @property
    def loss(self) -> float:
        """`train_eval_gap_loss`, in units of the loss per row."""
        return _loss(self.batch, self.running)

    @property
    def batch_points(self) -> float | None:
        """`train_eval_gap_batch`: at the training batch size. Never compare it with `points`."""
        return None if self.small is None else _points(self.small, self.running, self.rows)

    @property
    def batch_loss(self) -> float | None:
        """`train_eval_gap_batch` in its loss form."""
        return None if self.small is None else _loss(self.small, self.running)

    def to_json(self) -> dict[str, Any]:
        """The gap and its parts as JSON-ready values; null where a number is not finite."""
        layers = [
            {"layer": part.layer, "points": part.points, "loss": _finite(part.loss)}
            for part in self.layers
        ]
        told = {"rows": self.rows, "points": self.points, "loss": _finite(self.loss)}
        return told | {"p_value": self.p_value, "layers": layers}

    @property
    def p_value(self) -> float | None:
        """Of McNemar's exact test on the rows that one of the two alone gets right."""
        if self.only_running is None or self.only_batch is None:
            return None
        return mcnemar(self.only_running, self.only_batch)


def train_eval_gap(
    network: nn.Module,
    kind: LossKind,
    part: Part,
    generator: torch.Generator,
    *,
    chunk_rows: int = CHUNK_ROWS,
    batch_size: int | None = None,
    attribute: bool = True,
) -> Gap | None:
    """Score at most 10,000 rows of `part` with running and with batch statistics.

    Batch statistics are those of chunks of a random permutation, each one forward pass.
    Parameters, buffers, modes and the global random state stay as they are.

    Attribution is cumulative from the input: layers 1..k on batch statistics and the rest
    running, against 1..k-1. That is one pass over the rows per layer, and the parts sum to
    the gap, which those of an exchange of one layer at a time do not.

    Args:
        part: rows that the network does not train on, at least one.
        generator: of the CPU; chooses and orders the rows, and moves by one permutation. Pass
            equal states at every step of a series.
        chunk_rows: as `model.blocks.chunk_rows` says for this network.
        batch_size: of training, for the gap at that size as well.
        attribute: divide the gap among the layers.

    Returns:
        The gap; exactly 0 without norm layers over the batch. None where batch statistics do
        not exist: there is one row alone, or a channel is constant over a chunk while eps is 0.
    """
    probe = _Probe(network, kind, part, choose_rows(len(part), generator))
    norms = running_norms(network)
    names = list(norms)
    if names and len(probe.rows) < 2:
        return None
    try:
        answers = [probe.answers((), chunk_rows)]
        answers += [probe.answers(layers, chunk_rows) for layers in _steps(names, attribute)]
    except DeviationZero:
        return None
    small = None
    if batch_size is not None:  # without norms it is what it was, to the bit
        small = probe.of_batches(names, batch_size) if names else answers[0]
    scores = [answer.score for answer in answers]
    only_running, only_batch = _discordant(answers[0], answers[-1])
    return Gap(
        rows=len(probe.rows),
        chunk_rows=chunk_rows,
        running=scores[0],
        batch=scores[-1],
        only_running=only_running,
        only_batch=only_batch,
        layers=_parts(names, scores, len(probe.rows)) if attribute else (),
        batch_size=None if small is None else batch_size,
        small=None if small is None else small.score,
        recalibrates=all(isinstance(norm, BatchNorm) for norm in norms.values()),
    )


def finding(gap: Gap) -> Finding | None:
    """`BN_TRAIN_EVAL_GAP` where eval mode is over 2 points worse and chance is no reason."""
    points, p = gap.points, gap.p_value
    if points is None or p is None or points <= WARN_POINTS or p >= WARN_P:
        return None
    return Finding(
        "BN_TRAIN_EVAL_GAP",
        "warning",
        None,
        _evidence(gap, points, p),
        _REMEDY if gap.recalibrates else "Train longer, or with a larger norm.momentum.",
    )


@dataclass(frozen=True)
class _Answers:
    """What a network says to every row."""

    score: Score
    right: Tensor | None  # (rows,) bool; None for regression


@dataclass(frozen=True)
class _Probe:
    """A network and the rows that it is asked, in their order."""

    network: nn.Module
    kind: LossKind
    part: Part
    rows: Tensor

    def answers(self, layers: Collection[str], size: int) -> _Answers:
        """With these layers on the statistics of chunks of `size` rows."""
        part, rows = self.part, self.rows.to(self.part.inputs.device)
        with batch_statistics(self.network, layers), torch.inference_mode():
            pieces = [self.network(part.inputs[chunk]) for chunk in chunks(rows, size)]
            logits = torch.cat(pieces)
            loss = loss_per_row(self.kind, logits, part.targets[rows])
            classes = part.classes
            right = None if classes is None else are_correct(logits, classes[rows])
        return _Answers(Score(loss, None if right is None else int(right.sum().item())), right)

    def of_batches(self, names: Collection[str], size: int) -> _Answers | None:
        """At the training batch size; None where a batch has no such statistics."""
        try:
            return self.answers(names, size)
        except DeviationZero:  # more likely in a small batch than in a chunk
            return None


def _steps(names: list[str], attribute: bool) -> Iterator[list[str]]:
    """The layers on batch statistics, pass by pass; the last has all of them."""
    first = 1 if attribute else max(1, len(names))
    return (names[:count] for count in range(first, len(names) + 1))


def _discordant(running: _Answers, batch: _Answers) -> tuple[int, int] | tuple[None, None]:
    """Rows that only the first gets right, and rows that only the second does."""
    if running.right is None or batch.right is None:
        return None, None
    first = int((running.right & ~batch.right).sum().item())
    return first, int((batch.right & ~running.right).sum().item())


def _parts(names: Sequence[str], scores: Sequence[Score], rows: int) -> tuple[LayerPart, ...]:
    return tuple(
        LayerPart(name, _points(after, before, rows), _loss(after, before))
        for name, (before, after) in zip(names, pairwise(scores), strict=True)
    )


def _points(better: Score, worse: Score, rows: int) -> float | None:
    if better.correct is None or worse.correct is None:
        return None
    return 100 * (better.correct - worse.correct) / rows


def _loss(better: Score, worse: Score) -> float:
    return 0.0 if better is worse else worse.loss - better.loss  # also where it is infinite


def _evidence(gap: Gap, points: float, p: float) -> dict[str, Any]:
    return {
        "points": points,
        "p_value": p,
        "loss": _finite(gap.loss),
        "rows": gap.rows,
        "chunk_rows": gap.chunk_rows,
        "correct": {"running": gap.running.correct, "batch": gap.batch.correct},
        "only_running": gap.only_running,
        "only_batch": gap.only_batch,
        "layers": {part.layer: part.points for part in gap.layers},
        "over": {"points": WARN_POINTS, "p_value": WARN_P},
    }


def _finite(value: float) -> float | None:
    """A number that JSON has: a network that is broken in eval mode has an infinite loss."""
    return value if math.isfinite(value) else None
