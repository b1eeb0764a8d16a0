"""How long a step along the gradient may be before the loss is above what it was."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import Any, Literal

from model.lab.compare import Outcome, compared
from model.lab.larger_rate.plan import LargerRateParams, Norm, deep_arm, deep_rates
from model.lab.results import Results, RunResult
from model.lab.verdict import Declared, OfSeed


@dataclass(frozen=True)
class Look:
    """Steps of many lengths tried at one mini-batch of one run."""

    alphas: tuple[float, ...]  # ascending; none where the network was not there any more
    ratios: tuple[float | None, ...]  # of the loss after to that before; None: not finite
    alpha: float | None  # the first that raises the loss; None: there is only a bound
    bound: Literal["below", "above"] | None


GONE = Look((), (), None, "below")  # diverged: no step is safe any more


def look(run: RunResult, batch: int) -> Look:
    """What was found at a mini-batch, counted from 1."""
    found = (one for one in run.measured.get("relative_loss", ()) if one.step == batch - 1)
    data = next((one.data for one in found if "raised" in one.data), None)
    return GONE if data is None else _read(data)


def chosen(params: LargerRateParams, results: Results, norm: Norm, seed: int) -> RunResult | None:
    """The run at the largest rate that leads to the last mini-batch, else at the smallest."""
    found = (results.run(deep_arm(norm, rate), seed) for rate in deep_rates(params, norm))
    runs = [run for run in found if run is not None]
    led = (run for run in runs if all(look(run, one).alphas for one in params.batches))
    return next(led, runs[-1] if runs else None)


def ratio(declared: Declared, params: LargerRateParams, results: Results, seed: int) -> OfSeed:
    """The median over mini-batches of the longest step with norm over that without.

    A network without norm of which no step is safe gives no ratio. Bounds from one side make the
    median a bound; from both they leave it open.
    """
    runs = [chosen(params, results, norm, seed) for norm in ("batch", "none")]
    batch, none = runs
    if batch is None or none is None:
        return OfSeed(seed, None, "an arm is missing")
    found = [_at(declared, seed, one, batch, none) for one in params.batches]
    values = [one.value for one in found if one.value is not None]
    bounds = {one.bound for one in found if one.bound and one.value is not None}
    notes = "; ".join(one.note for one in found if one.note)
    if not values or len(bounds) > 1:
        return OfSeed(seed, None, notes)
    return OfSeed(seed, median(values), notes, next(iter(bounds), ""))


def rows(
    params: LargerRateParams, results: Results, seeds: Sequence[int]
) -> Iterator[tuple[str | int | float | None, ...]]:
    """Of every run of the deep network, the longest step at each mini-batch."""
    for seed in seeds:
        for norm in ("none", "batch"):
            for rate in deep_rates(params, norm):
                for run in results.of(deep_arm(norm, rate)):
                    if run.seed == seed:
                        yield (run.arm, seed, *(_cell(look(run, one)) for one in params.batches))


def outcome(found: Look, name: str) -> Outcome:
    """The longest step as a number; None where no step is safe or the network is gone."""
    match found.bound:
        case "below" if not found.alphas:
            return Outcome(None, f"{name} has diverged")
        case "below":
            return Outcome(found.alphas[0], f"{name} is below all steps", "at most")
        case "above":
            return Outcome(found.alphas[-1], f"{name} is above all steps", "at least")
        case _:
            return Outcome(found.alpha)


def _at(declared: Declared, seed: int, number: int, batch: RunResult, none: RunResult) -> OfSeed:
    name = f"mini-batch {number}"
    ours, theirs = look(batch, number), look(none, number)
    if theirs.bound == "below":
        return OfSeed(seed, None, f"{name}: without norm below the grid, which is no ratio")
    if not ours.alphas:
        # It is the claim's own side that diverged, which must not be left out.
        first = Outcome(theirs.alphas[0], f"{name}: batch has diverged", "at most")
        return compared(declared, seed, first, outcome(theirs, f"{name}: none"))
    return compared(
        declared, seed, outcome(ours, f"{name}: batch"), outcome(theirs, f"{name}: none")
    )


def _cell(found: Look) -> str | float | None:
    if found.alpha is not None:
        return found.alpha
    if not found.alphas:
        return "diverged"
    return f"below {found.alphas[0]:g}" if found.bound == "below" else f"above {found.alphas[-1]:g}"


def _read(data: Any) -> Look:
    alphas = tuple(data["alphas"])
    ratios = tuple(one if one is not None and isfinite(one) else None for one in data["ratios"])
    return Look(alphas, ratios, data["raised"]["alpha"], data["raised"]["bound"])
