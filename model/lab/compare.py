"""One number per run, and two arms compared seed by seed."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from model.lab.results import Results, RunResult
from model.lab.verdict import Declared, OfSeed


@dataclass(frozen=True)
class Outcome:
    """What one run comes to."""

    value: float | None  # finite; None: it says nothing
    note: str = ""  # what a reader must know of it
    bound: Literal["", "at least", "at most"] = ""  # the value is a bound of the true one


Of = Callable[[RunResult], Outcome]


def last(name: str, worst: float) -> Of:
    """The last value of a metric.

    Args:
        name: of the metric.
        worst: what a run stands for that diverged, or whose last value is not finite.
    """

    def of(run: RunResult) -> Outcome:
        value = run.last(name)
        if run.has_diverged or (value is not None and not isfinite(value)):
            return Outcome(worst, f"{run.arm} diverged at step {run.step:,}")
        return Outcome(value, "" if value is not None else f"{run.arm} has no {name}")

    return of


def mean_between(name: str, first: int, last: int, worst: float) -> Of:
    """The mean of a metric over the points of steps `first` to `last`.

    Args:
        worst: what every point stands for that is not finite or that a divergence left out.
    """

    def of(run: RunResult) -> Outcome:
        found = run.series.get(name)
        pairs = zip(found.steps, found.values, strict=True) if found is not None else ()
        values = [v if isfinite(v) else worst for step, v in pairs if first <= step <= last]
        if run.has_diverged and run.step < last:
            return Outcome(worst, f"{run.arm} diverged at step {run.step:,}")
        if not values:
            return Outcome(None, f"{run.arm} has no {name} in steps {first:,} to {last:,}")
        return Outcome(sum(values) / len(values))

    return of


def steps_to(name: str, at_least: float, budget: int) -> Of:
    """Optimizer steps until a metric was first at least so much.

    A run that never arrived, diverged or not, stands for its whole budget: a lower bound.

    Args:
        budget: steps that every run was given.
    """

    def of(run: RunResult) -> Outcome:
        step = run.first_step(name, at_least)
        if step is not None:
            return Outcome(float(max(step, 1)))
        how = "diverged" if run.has_diverged else "never arrived"
        return Outcome(float(budget), f"{run.arm} {how} in {budget:,} steps", "at least")

    return of


def paired(results: Results, declared: Declared, first: str, second: str, of: Of) -> list[OfSeed]:
    """Of each seed, the outcome of one arm less that of another, or divided by it.

    Where two bounds leave their relation open, the seed has no number.

    Args:
        declared: whose scale decides.
        first, second: the arms: first - second, or first / second.
    """
    both = results.pairs(first, second)
    return [compared(declared, one.seed, of(one), of(two)) for one, two in both]


def compared(declared: Declared, seed: int, one: Outcome, two: Outcome) -> OfSeed:
    """One outcome less another, or divided by it, as the declared scale says.

    Of two bounds something is known where one is from below and the other from above.
    """
    note = "; ".join(text for text in (one.note, two.note) if text)
    if one.value is None or two.value is None or (one.bound and one.bound == two.bound):
        return OfSeed(seed, None, note)
    bound = _bound(one, two)
    note = f"{note}: {bound} this" if bound else note
    if declared.scale == "difference":
        return OfSeed(seed, one.value - two.value, note)
    if one.value <= 0 or two.value <= 0:
        return OfSeed(seed, None, note or "not above 0: there is no ratio")
    return OfSeed(seed, one.value / two.value, note)


def _bound(one: Outcome, two: Outcome) -> str:
    """What is known of a difference or ratio of which a side is a bound, or both agree."""
    turned = {"": "", "at least": "at most", "at most": "at least"}
    return one.bound or turned[two.bound]
