"""How far the input of the last hidden layer's sigmoids wanders while the network trains.

Of each unit, the deviation over time of the median of its input, and of the width between its
percentiles 15 and 85; both are averaged over all units, so that nothing hangs on one of them.
"""

from collections.abc import Callable, Sequence
from math import isfinite, nan
from statistics import fmean, pstdev

from model.lab.compare import Of, Outcome
from model.lab.results import RunResult

LEVELS = ("p15", "p50", "p85")
Units = Sequence[float]  # one number a unit; NaN where there is none
OfProbe = Callable[[dict[str, Units]], Units]


def median(levels: dict[str, Units]) -> Units:
    """The median of every unit's input."""
    return levels["p50"]


def width(levels: dict[str, Units]) -> Units:
    """How far percentile 85 of every unit's input is above percentile 15."""
    return [high - low for low, high in zip(levels["p15"], levels["p85"], strict=True)]


def drift(of_probe: OfProbe, first: int) -> Of:
    """The mean over units of a number's standard deviation over the probes from `first` on.

    A run that diverged has drifted at least as far as it was seen to.

    Args:
        of_probe: the number, of every unit at one probe.
        first: optimizer steps done before the first probe that counts.
    """

    def of(run: RunResult) -> Outcome:
        columns = zip(*(of_probe(one) for step, one in probes(run) if step >= first), strict=True)
        spreads = [pstdev(c) for c in columns if len(c) > 1 and all(map(isfinite, c))]
        if not spreads:
            return Outcome(None, f"{run.arm} has no percentiles from step {first:,} on")
        if run.has_diverged:
            note = f"{run.arm} diverged at step {run.step:,}"
            return Outcome(fmean(spreads), note, "at least")
        return Outcome(fmean(spreads))

    return of


def probes(run: RunResult) -> list[tuple[int, dict[str, Units]]]:
    """Steps done, and percentiles 15, 50 and 85 of every unit of the last hidden layer."""
    readable = [one for one in run.measured.get("percentiles", ()) if "layers" in one.data]
    return [(one.step, _levels(one.data["layers"][-1])) for one in readable]


def _levels(layer: dict[str, Sequence[float | None]]) -> dict[str, Units]:
    return {level: [nan if x is None else x for x in layer[level]] for level in LEVELS}
