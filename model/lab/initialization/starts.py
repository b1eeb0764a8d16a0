"""Each start before its first step: loss, longest safe step, turn of the gradient."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from model.lab.compare import Outcome
from model.lab.initialization.plan import NORMS, Params, any_run
from model.lab.objectives import on_training_rows
from model.lab.results import Results
from model.measures.largest_step import LargestStep, largest_step, turn


@dataclass(frozen=True)
class StartAt:
    """One start of one arm on one seed."""

    norm: str
    gain: float
    seed: int
    loss: float  # on `rows` training rows
    step: LargestStep
    turn: float  # cosine of the gradient and the one after a step of `turn_rate`; may be NaN
    rows: int

    @property
    def outcome(self) -> Outcome:
        """The longest safe step as a number, or a bound of it."""
        match self.step.bound:
            case "below":
                note = f"{self.norm}, gain {self.gain:g}: no step of {self.step.low:g} is safe"
                return Outcome(self.step.low, note, "at most")
            case "above":
                note = f"{self.norm}, gain {self.gain:g}: a step of {self.step.high:g} is safe"
                return Outcome(self.step.high, note, "at least")
            case _:
                return Outcome(self.step.alpha)


Starts = Sequence[StartAt]


def look_at(params: Params, results: Results) -> tuple[StartAt, ...]:
    """Every start of every arm and seed of which a run counts."""
    return tuple(
        found
        for seed in results.planned_seeds
        for gain in params.gains
        for norm in NORMS
        if (found := _start(params, results, norm, gain, seed)) is not None
    )


def of_arm(starts: Starts, norm: str, gain: float | None = None) -> list[StartAt]:
    """Those of one arm, of one gain or all, by seed."""
    found = (one for one in starts if one.norm == norm and gain in (None, one.gain))
    return sorted(found, key=lambda one: one.seed)


def spread(starts: Starts, params: Params) -> Outcome:
    """The longest over the shortest of the safe steps from all starts of one arm and seed."""
    if len(starts) < len(params.gains):
        return Outcome(None, "a start is missing")
    ends = [_ends(one.step) for one in starts]
    most, least = max(low for low, _ in ends), min(high for _, high in ends)
    notes = "; ".join(note for one in starts if (note := one.outcome.note))
    if most == 0 or least == inf:
        return Outcome(None, notes)
    return Outcome(most / least, notes, "at least" if notes else "")


def _ends(step: LargestStep) -> tuple[float, float]:
    """Between which steps the longest safe one lies."""
    if step.alpha is not None:
        return step.alpha, step.alpha
    return (0.0, step.low) if step.bound == "below" else (step.high, inf)


def _start(params: Params, results: Results, norm: str, gain: float, seed: int) -> StartAt | None:
    run = any_run(params, results, norm, gain, seed)
    if run is None:
        return None
    at = on_training_rows(results.start(run), results.moved)
    here = at.here
    with at.kept():
        loss = at.value(here)
    results.moved()
    return StartAt(
        norm,
        gain,
        seed,
        loss,
        largest_step(at, here),
        turn(at, here, params.turn_rate),
        len(at.block.inputs),
    )
