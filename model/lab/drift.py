"""How far a number of every unit wanders over training.

Of each unit, the standard deviation (over n) of its number over the probes of a run; then the
mean over all units, so that nothing hangs on one of them.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, nan
from statistics import fmean, pstdev
from typing import Any

from model.lab.compare import Of, Outcome
from model.lab.results import RunResult

Units = Sequence[float]  # one number a unit; NaN where there is none
OverTime = Callable[[RunResult], Sequence[tuple[int, Units]]]
"""Optimizer steps done at each probe, and what it found."""


def drift(over_time: OverTime, first: int) -> Of:
    """The drift of a run, over the probes from step `first` on.

    A unit that ever had no finite number is left out. A run that diverged has drifted at least as
    far as it was seen to.
    """

    def of(run: RunResult) -> Outcome:
        found = [units for step, units in over_time(run) if step >= first]
        spreads = [pstdev(one) for one in zip(*found, strict=True) if all(map(isfinite, one))]
        if len(found) < 2 or not spreads:
            return Outcome(None, f"{run.arm} has too few probes from step {first:,} on")
        if run.has_diverged:
            note = f"{run.arm} diverged at step {run.step:,}"
            return Outcome(fmean(spreads), note, "at least")
        return Outcome(fmean(spreads))

    return of


def probed(run: RunResult, measure: str) -> list[tuple[int, Sequence[Mapping[str, Any]]]]:
    """The layers of every probe of a measure that could be read, with the steps done."""
    readable = (one for one in run.measured.get(measure, ()) if "layers" in one.data)
    return [(one.step, one.data["layers"]) for one in readable]


def known(units: Sequence[float | None]) -> Units:
    """The numbers of units as a probe has them, NaN for null."""
    return [nan if value is None else value for value in units]
