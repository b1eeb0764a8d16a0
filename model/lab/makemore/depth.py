"""How activations and their gradients change from layer to layer of the deep network."""

from collections.abc import Sequence
from math import inf, isfinite, log
from typing import Any, Literal

from model.lab.compare import Of, Outcome
from model.lab.makemore.arms import Params, deep_arm
from model.lab.results import Results, RunResult

What = Literal["outputs", "gradients"]  # of the tanh layers
SMALLEST = 2.0**-126  # normal number of float32
LIMIT = log(1.25)  # of |ln(last / first)|: within .8 to 1.25


def layers_of(run: RunResult, at: Literal["start", "end"] = "start") -> list[dict[str, Any]]:
    """The histograms of every tanh layer, before the first step or after the last; maybe none."""
    found = run.measured.get("histograms", ())
    if not found or (at == "end" and (len(found) < 2 or found[-1].step == 0)):
        return []
    data = (found[0] if at == "start" else found[-1]).data
    return list(data.get("layers", ()))


def deviations(run: RunResult, what: What) -> list[float]:
    """The standard deviation of each layer at the start; NaN where it is not finite."""
    found = (layer[what]["sd"] for layer in layers_of(run))
    return [float("nan") if one is None else one for one in found]


def log_ratio(run: RunResult, what: What) -> float | None:
    """ln of the last layer's deviation over the first's; None where there is none."""
    found = deviations(run, what)
    if len(found) < 2 or not all(isfinite(one) and one > 0 for one in (found[0], found[-1])):
        return None
    return log(found[-1] / found[0])


def worst(params: Params, results: Results, norm: str, what: What, seed: int) -> Outcome:
    """The largest |ln(last / first)| of all gains on one seed."""
    of, found = size_of_log_ratio(what), list[tuple[float, float, Outcome]]()
    for gain in params.gains:
        run = results.run(deep_arm(norm, gain), seed)
        outcome = of(run) if run else Outcome(None, f"{deep_arm(norm, gain)} is missing")
        if outcome.value is None:
            return outcome
        found.append((outcome.value, gain, outcome))
    value, gain, outcome = max(found, key=lambda one: one[:2])
    note = outcome.note or f"{norm}: gain {gain:g}"
    if any(one.bound for *_, one in found):
        return Outcome(value, note, "at least")
    return Outcome(value, note)


def size_of_log_ratio(what: What) -> Of:
    """|ln(last / first)| of a run.

    Where one of the two has vanished, it is a lower bound: what is exactly 0 in float32 was
    below its smallest normal number.
    """

    def of(run: RunResult) -> Outcome:
        found = log_ratio(run, what)
        if found is not None:
            return Outcome(abs(found))
        least = _least_log_ratio(run, what)
        if least is not None:
            return Outcome(least, f"{what} of {run.arm} vanish", "at least")
        return Outcome(None, f"{run.arm} has no deviation of its {what}")

    return of


def _least_log_ratio(run: RunResult, what: What) -> float | None:
    """How large |ln(last / first)| is at least, where one of them alone is exactly 0."""
    found = deviations(run, what)
    if len(found) < 2:
        return None
    low, high = sorted((found[0], found[-1]))
    return log(high / SMALLEST) if low == 0 and SMALLEST < high < inf else None


def seeds_of(results: Results) -> Sequence[int]:
    """Seeds that have a run of the deep network that counts, ascending."""
    return sorted({run.seed for run in results.runs if run.counts and run.arm.startswith("deep")})
