"""What the experiment on initialization answers."""

from collections.abc import Sequence
from typing import Any

from model.figures.charts import Figure
from model.lab import factors
from model.lab.arms import sentence
from model.lab.compare import Outcome, compared
from model.lab.initialization import paths, profiles, survival
from model.lab.initialization.plan import NORMS, Params, arm_of, start_name
from model.lab.initialization.starts import StartAt, Starts, look_at, of_arm, spread
from model.lab.pair import proofs
from model.lab.report import Report, Table
from model.lab.results import Results
from model.lab.verdict import Declared, Effect, OfSeed, judge

SPREAD = Declared(
    "spread of the longest safe step over the starts: none / batch", "", "ratio", "above", 20.0
)
CELLS = Declared(
    "cells of start and learning rate from which training arrives: batch / none",
    *("", "ratio", "above", 2.0),
)


def report(params: Params, results: Results) -> Report:
    """Judge the spread of safe steps, count the surviving cells, and draw both."""
    starts = look_at(params, results)
    effect, arrived = _spread(params, results, starts), _cells(params, results)
    by_start = tuple(_from(params, starts, gain) for gain in params.gains)
    drawn = paths.draw(params, results)
    proven = _proofs(params, results)
    return Report(
        effect=effect,
        summary=_summary(params, (effect, arrived), by_start),
        tables=(
            _table(params, starts),
            _spreads(params, results, starts),
            survival.table(params, results),
        ),
        figures=(*_figures(params, results, starts), *drawn.figures),
        caveats=(*_caveats(params, starts, by_start), *drawn.caveats, *factors.caveats(proven)),
        factors=proven,
        others=(arrived, *by_start),
    )


def _spread(params: Params, results: Results, starts: Starts) -> Effect:
    return judge(
        SPREAD,
        [compared(SPREAD, seed, *_both(params, starts, seed)) for seed in results.planned_seeds],
    )


def _both(params: Params, starts: Starts, seed: int) -> tuple[Outcome, Outcome]:
    mine = [one for one in starts if one.seed == seed]
    return spread(of_arm(mine, "none"), params), spread(of_arm(mine, "batch"), params)


def _cells(params: Params, results: Results) -> Effect:
    found = list[OfSeed]()
    for seed in results.planned_seeds:
        counted = survival.cells(params, results, seed)
        found.append(compared(CELLS, seed, counted["batch"], counted["none"]))
    return judge(CELLS, found)


def _from(params: Params, starts: Starts, gain: float) -> Effect:
    """Whether batch norm allows a longer safe step from this start."""
    name = f"longest safe step from {start_name(params, gain)}: batch / none"
    declared = Declared(name, "", "ratio", "above", 1.0)
    none = {one.seed: one.outcome for one in of_arm(starts, "none", gain)}
    batch = {one.seed: one.outcome for one in of_arm(starts, "batch", gain)}
    both = [seed for seed in batch if seed in none]
    return judge(declared, [compared(declared, seed, batch[seed], none[seed]) for seed in both])


def _figures(params: Params, results: Results, starts: Starts) -> tuple[Figure, ...]:
    if not starts:
        return ()
    along = profiles.profiles(params, results, starts)
    shown = (profiles.bars(params, starts), *([along] if along else []))
    return (*shown, survival.figure(params, results))


def _table(params: Params, starts: Starts) -> Table:
    rows = tuple(_row(params, one) for one in starts)
    columns = (
        *("start", "norm", "seed", "loss", "longest safe step"),
        *(f"cosine after a step of {params.turn_rate:g}", "training rows"),
    )
    notes = "; ".join(f"seed {one.seed}: {one.outcome.note}" for one in starts if one.outcome.note)
    title = "Each start before its first step: full gradient, statistics of all these rows"
    return Table("starts", title, columns, rows, notes)


def _row(params: Params, one: StartAt) -> tuple[str | int | float | None, ...]:
    name = start_name(params, one.gain)
    return (name, one.norm, one.seed, one.loss, one.outcome.value, one.turn, one.rows)


def _spreads(params: Params, results: Results, starts: Starts) -> Table:
    rows = []
    for seed in results.planned_seeds:
        both = [one.value for one in _both(params, starts, seed)]
        counted = survival.cells(params, results, seed)
        rows.append((seed, *both, counted["none"].value, counted["batch"].value))
    columns = (
        *("seed", "spread of the longest safe step, none", "the same, batch"),
        *("cells that arrive, none", "the same, batch"),
    )
    of = len(params.gains) * len(params.rates)
    note = f"A spread is the longest over the shortest of the safe steps. Of {of} cells."
    return Table("by-seed", "What is compared, seed by seed", columns, tuple(rows), note)


def _summary(params: Params, effects: Sequence[Effect], by_start: Sequence[Effect]) -> str:
    told = [sentence(effect) for effect in effects]
    shorter = _shorter(params, by_start)
    if shorter:
        told.append(f"The safe step is longer without norm from {' and '.join(shorter)}.")
    return " ".join(told)


def _shorter(params: Params, by_start: Sequence[Effect]) -> list[str]:
    """Starts from which the safe step is longer without norm."""
    pairs = zip(params.gains, by_start, strict=True)
    return [
        start_name(params, gain)
        for gain, effect in pairs
        if effect.value is not None and effect.value < 1
    ]


def _caveats(params: Params, starts: Starts, by_start: Sequence[Effect]) -> tuple[str, ...]:
    rows = max((one.rows for one in starts), default=0)
    told = [
        f"Safe steps and cosines are of the gradient on {rows:,} training rows, at the start. "
        "Training steps on mini-batches, and what is safe changes as it goes.",
        "A longer safe step is not a better start: where gradients vanish with depth, the loss "
        "is flat and almost any step is safe.",
        "Weights in front of a norm may be scaled without changing any answer, but the same "
        "learning rate then moves them less: so even with batch norm starts are not equal.",
    ]
    if params.activation is None:
        told.append(
            "How far apart starts are depends on the activation. `activation: tanh` is the "
            "control: its values cannot grow, and starts are far more alike without norm, too."
        )
    shorter = _shorter(params, by_start)
    if shorter:
        told.append(
            f"That batch norm allows larger steps does not hold from {' and '.join(shorter)}: the "
            "safe step is longer there without norm. What batch norm takes away is the "
            "dependence on the start."
        )
    return tuple(told)


def _proofs(params: Params, results: Results) -> tuple[dict[str, Any], ...]:
    """Of each start, that the arms share weights and order on every seed."""
    arms = ([arm_of(norm, gain, params.rates[0]) for norm in NORMS] for gain in params.gains)
    return tuple(proof for none, batch in arms for proof in proofs(results, none, [batch]))
