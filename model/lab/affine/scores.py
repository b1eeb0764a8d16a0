"""What the finished networks make of the rows that they were trained on: what they can express."""

from dataclasses import dataclass
from functools import cached_property
from math import isfinite

from model.lab.compare import Of, Outcome
from model.lab.results import Results, RunResult
from model.training.evaluate import evaluate

Scores = dict[str, float]


@dataclass(frozen=True)
class TrainingRows:
    """Scores of every run's last network in evaluation mode on all of its training rows."""

    results: Results

    @cached_property
    def scores(self) -> dict[tuple[str, int], Scores]:
        """By arm and seed; a run without a checkpoint is left out."""
        counted = (run for run in self.results.runs if run.counts and run.checkpoints)
        return {(run.arm, run.seed): self._scores(run) for run in counted}

    def of(self, key: str, worst: float | None) -> Of:
        """`accuracy`, 0 to 1, or `loss`, per row.

        Args:
            worst: what a diverged run stands for; None: it has no number.
        """

        def of(run: RunResult) -> Outcome:
            value = self.scores.get((run.arm, run.seed), {}).get(key)
            if run.has_diverged or (value is not None and not isfinite(value)):
                return Outcome(worst, f"{run.arm} diverged at step {run.step:,}", diverged=True)
            return Outcome(value, "" if value is not None else f"{run.arm} has no {key}")

        return of

    def _scores(self, run: RunResult) -> Scores:
        start, loaded = self.results.start(run), self.results.trained(run)
        assert loaded is not None
        assert start.checked.spec.loss is not None
        kind, rows = start.checked.spec.loss.kind, start.arrays.train
        return evaluate(loaded.network, kind, rows, loaded.block_rows)
