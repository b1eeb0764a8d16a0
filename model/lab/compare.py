"""One number per run, and two arms compared seed by seed."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import isfinite

from model.lab.results import Results, RunResult
from model.lab.verdict import LARGEST, Bound, Declared, OfSeed, within


@dataclass(frozen=True)
class Outcome:
    """What one run comes to."""

    value: float | None  # finite; None: it says nothing
    note: str = ""  # what a reader must know of it
    bound: Bound = ""  # the value is a bound of the true one
    diverged: bool = False  # it stands for the worst there is; of two such nothing follows
    #: Of a size, the largest finite one that was seen; `paired` compares by that of all runs.
    largest: float | None = field(default=None, compare=False)


Of = Callable[[RunResult], Outcome]


def last(name: str, worst: float, bound: Bound = "") -> Of:
    """The last value of a metric.

    Args:
        name: of the metric.
        worst: what a run stands for that diverged, or whose last value is not finite.
        bound: what that is of the truth: of a loss, which has no worst value, `at least`.
    """

    def of(run: RunResult) -> Outcome:
        value = run.last(name)
        if run.has_diverged:
            return Outcome(worst, f"{run.arm} diverged at step {run.step:,}", bound, True)
        if value is not None and not isfinite(value):
            note = f"{run.arm} ends with a {name} that is not finite"
            return Outcome(worst, note, bound, True)
        return Outcome(value, "" if value is not None else f"{run.arm} has no {name}")

    return of


def mean_between(name: str, first: int, last: int, worst: float, bound: Bound = "") -> Of:
    """The mean of a metric over the points of steps `first` to `last`.

    Args:
        worst: what a point stands for that is not finite, and the whole mean where a run diverged
            before step `last`.
    """

    def of(run: RunResult) -> Outcome:
        found = run.series.get(name)
        pairs = zip(found.steps, found.values, strict=True) if found is not None else ()
        values = [v for step, v in pairs if first <= step <= last]
        if run.has_diverged and run.step < last:
            return Outcome(worst, f"{run.arm} diverged at step {run.step:,}", bound, True)
        if not values:
            return Outcome(None, f"{run.arm} has no {name} in steps {first:,} to {last:,}")
        mean = sum(v if isfinite(v) else worst for v in values) / len(values)
        if all(map(isfinite, values)):
            return Outcome(mean)
        return Outcome(mean, f"{run.arm} has a {name} that is not finite", bound)

    return of


def steps_to(name: str, at_least: float, budget: int) -> Of:
    """Optimizer steps until a metric was first at least so much.

    A run that never arrived, diverged or not, stands for its whole budget: a lower bound. One that
    ended without the metric says nothing.

    Args:
        budget: steps that every run was given.
    """

    def of(run: RunResult) -> Outcome:
        step = run.first_step(name, at_least)
        if step is not None:
            return Outcome(float(max(step, 1)))
        if name not in run.series and not run.has_diverged:
            return Outcome(None, f"{run.arm} has no {name}")
        how = "diverged" if run.has_diverged else "never arrived"
        return Outcome(float(budget), f"{run.arm} {how} in {budget:,} steps", "at least")

    return of


def paired(results: Results, declared: Declared, first: str, second: str, of: Of) -> list[OfSeed]:
    """Of each seed, the outcome of one arm less that of another, or divided by it.

    Where two bounds leave their relation open, or both arms diverged, the seed has no number. A
    size of a run that diverged is as large as the largest that any run of both arms had: by its
    own last one it might be the smaller for having diverged.

    Args:
        declared: whose scale decides.
        first, second: the arms: first - second, or first / second.
    """
    ones, twos = ({run.seed: of(run) for run in results.of(arm)} for arm in (first, second))
    seen = [one.largest for one in (*ones.values(), *twos.values()) if one.largest is not None]
    largest = max(seen, default=None)
    return [
        compared(declared, seed, _at_worst(ones[seed], largest), _at_worst(twos[seed], largest))
        for seed in ones
        if seed in twos
    ]


def compared(declared: Declared, seed: int, one: Outcome, two: Outcome) -> OfSeed:
    """One outcome less another, or divided by it, as the declared scale says.

    Of two bounds something is known where one is from below and the other from above, and of two
    runs that diverged nothing: that both are the worst is no proof that they are alike.
    """
    note = "; ".join(text for text in (one.note, two.note) if text)
    is_open = (one.bound and one.bound == two.bound) or (one.diverged and two.diverged)
    if one.value is None or two.value is None or is_open:
        return OfSeed(seed, None, note)
    bound = _bound(one, two)
    note = f"{note}: {bound} this" if bound else note
    if declared.scale == "difference":
        return OfSeed(seed, within(one.value - two.value, LARGEST), note, bound)
    if one.value <= 0 or two.value <= 0:
        return OfSeed(seed, None, note or "not above 0: there is no ratio")
    return OfSeed(seed, min(max(one.value / two.value, 1 / LARGEST), LARGEST), note, bound)


def _at_worst(one: Outcome, largest: float | None) -> Outcome:
    """The outcome, or for a size of a run that diverged the largest of all."""
    if not one.diverged or one.bound != "at least":
        return one
    if largest is None and one.value is None:
        return replace(one, note=f"{one.note}, and no run has a finite one")
    return one if largest is None else replace(one, value=largest)


def _bound(one: Outcome, two: Outcome) -> Bound:
    """What is known of a difference or ratio of which a side is a bound, or both agree."""
    turned: dict[Bound, Bound] = {"": "", "at least": "at most", "at most": "at least"}
    return one.bound or turned[two.bound]
