"""How activations and their gradients change from layer to layer of the deep network."""

from collections.abc import Sequence
from math import isfinite, log
from typing import Any, Literal

from model.lab.compare import Of, Outcome
from model.lab.makemore.arms import Params, deep_arm
from model.lab.results import Results, RunResult

What = Literal["outputs", "gradients"]  # of the tanh layers
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
    found = []
    for gain in params.gains:
        of = size_of_log_ratio(what)
        runs = [run for run in results.of(deep_arm(norm, gain)) if run.seed == seed]
        outcome = of(runs[0]) if runs else Outcome(None, f"{deep_arm(norm, gain)} is missing")
        if outcome.value is None:
            return outcome
        found.append((outcome.value, gain))
    value, gain = max(found)
    return Outcome(value, f"{norm}: gain {gain:.3g}")


def size_of_log_ratio(what: What) -> Of:
    """|ln(last / first)| of a run."""

    def of(run: RunResult) -> Outcome:
        found = log_ratio(run, what)
        if found is None:
            return Outcome(None, f"{run.arm} has no deviation of its {what}")
        return Outcome(abs(found))

    return of


def seeds_of(results: Results) -> Sequence[int]:
    """Seeds that have a run of the deep network that counts, ascending."""
    return sorted({run.seed for run in results.runs if run.counts and run.arm.startswith("deep")})
