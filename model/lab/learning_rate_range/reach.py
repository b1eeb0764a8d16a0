"""Of one seed: up to which rate each arm trains, and how soon it is as good as without norm."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import isfinite

from model.lab.compare import Outcome, last, steps_to
from model.lab.guessing import guessing
from model.lab.learning_rate_range.plan import (
    ACTIVATIONS,
    NORMS,
    Act,
    Norm,
    RangeParams,
    arm_of,
    runs_of,
)
from model.lab.results import Results, RunResult

METRIC = "test_accuracy"
LEARNED = 0.5  # of the way from guessing to the best accuracy of the seed: a run that trains


@dataclass(frozen=True)
class Reach:
    """The runs of one seed, of which arms are compared on rates that both have."""

    params: RangeParams
    results: Results
    seed: int

    def runs(self, activation: Act, norm: Norm) -> dict[float, RunResult]:
        """By their multiplier."""
        return runs_of(self.params, self.results, activation, norm, self.seed)

    @cached_property
    def guess(self) -> float | None:
        """Accuracy of always naming the most frequent class; None without test rows."""
        every = (one for act in ACTIVATIONS for norm in NORMS for one in self._runs(act, norm))
        first = next(every, None)
        return None if first is None else guessing(self.results, first)

    @cached_property
    def target(self) -> float | None:
        """The highest accuracy that the ReLU network without norm has at any rate and time."""
        found = [value for run in self._runs("relu", "none") for value in _values(run)]
        return max(found, default=None)

    @cached_property
    def learned(self) -> float | None:
        """The least accuracy at the end of a run that trains."""
        ends = [end(run) for norm in NORMS for run in self._runs("relu", norm)]
        known = [value for value in ends if value is not None]
        if self.guess is None or not known:
            return None
        return self.guess + LEARNED * (max(known) - self.guess)

    def trains(self, run: RunResult) -> bool:
        """Whether it came to an end without diverging and has learned something."""
        value = end(run)
        return value is not None and self.learned is not None and value >= self.learned

    def largest_rate(self, norm: Norm) -> Outcome:
        """The largest rate at which the ReLU network trains, on this grid."""
        runs = self.runs("relu", norm)
        if self.learned is None or not runs:
            return Outcome(None, "no rate has a run of both arms with an accuracy")
        good = [multiplier for multiplier, run in runs.items() if self.trains(run)]
        if not good:
            return Outcome(self.params.rate(min(runs)), f"{norm} trains at no rate", "at most")
        bound = "at least" if max(good) == max(runs) else ""
        note = f"{norm} trains at the largest rate" if bound else ""
        return Outcome(self.params.rate(max(good)), note, "at least" if bound else "")

    def steps(self, run: RunResult) -> Outcome:
        """Steps until a run is as good as the network without norm ever gets."""
        if self.target is None:
            return Outcome(None, f"{run.arm} has nothing to reach")
        return steps_to(METRIC, self.target, self.params.steps)(run)

    def fewest_steps(self, norm: Norm) -> Outcome:
        """The same at the rate at which it takes the fewest."""
        found = [self.steps(run) for run in self._runs("relu", norm)]
        known = [one for one in found if one.value is not None]
        if not known:
            return Outcome(None, f"{norm} has nothing to reach")
        return min(known, key=lambda one: (one.bound != "", one.value))

    def steps_at(self, norm: Norm, multiplier: float) -> Outcome:
        """The same at one rate."""
        run = self.runs("relu", norm).get(multiplier)
        if run is None:
            return Outcome(None, f"{arm_of('relu', norm, multiplier)} is missing")
        return self.steps(run)

    def best_end(self, activation: Act, norm: Norm) -> Outcome:
        """The highest accuracy at the end, over rates; a diverged run has 0."""
        found = [last(METRIC, 0.0)(run).value for run in self._runs(activation, norm)]
        known = [value for value in found if value is not None]
        return Outcome(max(known, default=None), "" if known else f"{norm} has no {METRIC}")

    def _runs(self, activation: Act, norm: Norm) -> Iterable[RunResult]:
        return self.runs(activation, norm).values()


def end(run: RunResult) -> float | None:
    """The accuracy at the end; None where it diverged or has none."""
    value = run.last(METRIC)
    return None if run.has_diverged or value is None or not isfinite(value) else value


def _values(run: RunResult) -> tuple[float, ...]:
    found = run.series.get(METRIC)
    return () if found is None else tuple(value for value in found.values if isfinite(value))
