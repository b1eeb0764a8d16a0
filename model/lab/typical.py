"""What a metric typically was over some steps of a run: its median, diverged runs included."""

from collections.abc import Callable
from math import inf, isfinite, isnan
from statistics import median

from model.lab.compare import Of, Outcome
from model.lab.results import RunResult, Series

WHOLE = (0, 2**62)  # every step


def known(run: RunResult, name: str, steps: tuple[int, int] = WHOLE) -> list[float]:
    """The values of a metric at the steps from the first to the last of `steps`."""
    found = run.series.get(name, Series((), ()))
    pairs = zip(found.steps, found.values, strict=True)
    return [value for step, value in pairs if steps[0] <= step <= steps[1]]


def typical_size(name: str, steps: tuple[int, int] = WHOLE) -> Of:
    """The median of something that is the worse the larger it is.

    What is not finite counts as infinite. Where the median is, and where a run diverged within
    these steps, the largest finite value stands in as a lower bound; where arms are compared, it
    is the largest of all their runs.
    """

    def of(run: RunResult) -> Outcome:
        return size(run, name, known(run, name, steps), steps[1], median)

    return of


def largest_size(name: str, steps: tuple[int, int] = WHOLE) -> Of:
    """The largest value, under the same rules."""

    def of(run: RunResult) -> Outcome:
        return size(run, name, known(run, name, steps), steps[1], max)

    return of


def typical_angle(name: str, steps: tuple[int, int] = WHOLE) -> Of:
    """The median of a cosine; there is none where a gradient is 0.

    A run that diverged within these steps stands for -1, the worst.
    """

    def of(run: RunResult) -> Outcome:
        if run.has_diverged and run.step < steps[1]:
            return Outcome(-1.0, f"{run.arm} diverged at step {run.step:,}", diverged=True)
        values = [value for value in known(run, name, steps) if isfinite(value)]
        return Outcome(median(values)) if values else Outcome(None, f"{run.arm} has no {name}")

    return of


def size(
    run: RunResult,
    name: str,
    values: list[float],
    last: int,
    reduce: Callable[[list[float]], float],
) -> Outcome:
    """What sizes of a run come to, under the rules of `typical_size`.

    Args:
        name: of what is measured, for the note.
        last: the step up to which the run should have gone.
        reduce: the median or the largest of them.
    """
    has_diverged = run.has_diverged and run.step < last
    if not values and not has_diverged:
        return Outcome(None, f"{run.arm} has no {name}")
    largest = max((value for value in values if isfinite(value)), default=None)
    found = reduce([inf if isnan(value) else value for value in values] or [inf])
    if isfinite(found) and not has_diverged:
        return Outcome(found, largest=largest)
    why = f"diverged at step {run.step:,}" if run.has_diverged else f"has an infinite {name}"
    return Outcome(largest, f"{run.arm} {why}", "at least", diverged=True, largest=largest)
