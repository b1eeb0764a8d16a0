"""A run's accuracy in both modes, on batches composed as those that it trained on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.batches import lay_out
from model.checkpoint import Loaded
from model.lab.compare import Of, Outcome
from model.lab.errors import ONE_ROW, held_out, in_eval, in_training
from model.lab.results import Results, RunResult, Start
from model.spec import RunSpec
from model.training.arrays import Part
from model.training.order import Order
from model.training.randomness import stream

MOST_BATCHES = 200  # that a mode is judged on
LEAST_EPOCHS = 5  # of few rows, so that batches in other company are among them


@dataclass(frozen=True)
class Modes:
    """Accuracy of one run, in percent."""

    eval_test: float
    training_test: float | None  # None: there is one test row
    eval_train: float
    training_train: float

    @property
    def gap_train(self) -> float:
        """By how much training mode seems better, on the rows that were trained on."""
        return self.training_train - self.eval_train


AllModes = dict[tuple[str, int], Modes]  # by arm and seed
NAMES = {
    "eval_test": "eval mode, test rows",
    "training_test": "training mode, test rows",
    "eval_train": "eval mode, training rows",
    "training_train": "training mode, training rows",
}


def look(results: Results) -> AllModes:
    """Every run that counts and did not diverge, as it was last saved."""
    found = {}
    for run in results.runs:
        loaded = results.trained(run) if run.counts and not run.has_diverged else None
        if loaded is not None:
            found[run.arm, run.seed] = _modes(results.start(run), loaded)
    return found


def of_modes(found: AllModes, name: str) -> Of:
    """One accuracy or gap of every run.

    A network that diverged gets nothing right, and between its modes there is no gap to tell.

    Args:
        name: of a field or property of `Modes`.
    """

    def of(run: RunResult) -> Outcome:
        if run.has_diverged:
            note = f"{run.arm} diverged at step {run.step:,}"
            return Outcome(0.0 if name in NAMES else None, note, diverged=True)
        modes = found.get((run.arm, run.seed))
        if modes is None:
            return Outcome(None, f"{run.arm} has no checkpoint")
        value = getattr(modes, name)
        return Outcome(value, f"{run.arm}: {ONE_ROW}" if value is None else "")

    return of


def composed(part: Part, spec: RunSpec) -> list[Tensor]:
    """Batches of some rows, in company as in the run's training: row indices.

    They are drawn from a stream of their own, several times over where there are few rows; of many
    rows not all are in a batch.
    """
    sizes = lay_out(len(part), min(spec.batch_size, len(part)), "merge").sizes
    order = Order(len(part), sizes, spec.sampling, stream(spec.seed, "measures"), part.classes)
    epochs = [order.epoch() for _ in range(LEAST_EPOCHS)]
    batches = [batch for one in epochs for batch in one.rows.split(list(one.sizes))]
    chosen = torch.randperm(len(batches), generator=order.generator)[:MOST_BATCHES]
    return [batches[index] for index in chosen.tolist()]


def _modes(start: Start, loaded: Loaded) -> Modes:
    test, train = held_out(start), start.arrays.train
    return Modes(
        eval_test=_in_eval(loaded, test),
        training_test=_in_training(loaded, test) if len(test) > 1 else None,
        eval_train=_in_eval(loaded, train),
        training_train=_in_training(loaded, train),
    )


def _in_eval(loaded: Loaded, part: Part) -> float:
    return 100 - in_eval(loaded.network, part, loaded.block_rows)


def _in_training(loaded: Loaded, part: Part) -> float:
    return 100 - in_training(loaded.network, part, composed(part, loaded.spec))
