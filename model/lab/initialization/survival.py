"""From which starts at which learning rates training arrives, and where it diverges."""

from collections.abc import Sequence
from math import nan
from statistics import median

from model.figures.charts import Figure, Map
from model.lab.compare import Outcome
from model.lab.initialization.plan import (
    NORMS,
    Params,
    arm_of,
    start_name,
    text_of,
)
from model.lab.report import Cell, Table
from model.lab.results import Results, RunResult


def arrived(params: Params, run: RunResult) -> int | None:
    """The first step at which the training loss was at most the target; None: at none.

    The loss is a mean over the mini-batches since the point before.
    """
    found = run.series.get("train_loss")
    pairs = zip(found.steps, found.values, strict=True) if found is not None else ()
    return next((step for step, value in pairs if value <= params.target_loss), None)


def cells(params: Params, results: Results, seed: int) -> dict[str, Outcome]:
    """Of each arm, in how many cells of gain and rate training arrives; only cells of both.

    None counts as one in a ratio, from which the true number is further off.
    """
    both = [
        pair
        for gain in params.gains
        for rate in params.rates
        if None not in (pair := [results.run(arm_of(n, gain, rate), seed) for n in NORMS])
    ]
    if not both:
        return dict.fromkeys(NORMS, Outcome(None, "no cell has a run of both arms"))
    counted = {
        norm: sum(run is not None and arrived(params, run) is not None for run in runs)
        for norm, runs in zip(NORMS, zip(*both, strict=True), strict=True)
    }
    return {
        norm: Outcome(float(count))
        if count
        else Outcome(1.0, f"{norm} arrives in no cell, counted as one", "at most")
        for norm, count in counted.items()
    }


def table(params: Params, results: Results) -> Table:
    """Every cell with what became of each seed."""
    seeds = results.planned_seeds
    rows = tuple(
        (norm, start_name(params, gain), rate, *_told(params, results, (norm, gain, rate), seeds))
        for norm in NORMS
        for gain in params.gains
        for rate in params.rates
    )
    columns = ("norm", "start", "learning rate", *(f"seed {seed}" for seed in seeds))
    title = f"Steps to a training loss of {params.target_loss:g}, of at most {params.steps:,}"
    return Table("survival", title, columns, rows, "A loss is a mean over 10 mini-batches or more.")


def figure(params: Params, results: Results) -> Figure:
    """Both grids on one scale of colours."""
    return Figure(
        "survival",
        f"Steps to a training loss of {params.target_loss:g}, by start and learning rate",
        "Training survives in more of the starts and learning rates with batch norm than without.",
        tuple(_map(params, results, norm) for norm in NORMS),
        notes=("a number is the median over the seeds that arrive",),
    )


def _told(
    params: Params, results: Results, cell: tuple[str, float, float], seeds: Sequence[int]
) -> list[Cell]:
    found = (results.run(arm_of(*cell), seed) for seed in seeds)
    return [None if run is None else arrived(params, run) or _failure(run) for run in found]


def _failure(run: RunResult) -> str:
    return f"diverged at step {run.step:,}" if run.has_diverged else "never"


def _map(params: Params, results: Results, norm: str) -> Map:
    found = [
        [results.of(arm_of(norm, gain, rate)) for rate in params.rates] for gain in params.gains
    ]
    steps = [[_steps(params, runs) for runs in row] for row in found]
    texts = [[_text(params, runs) for runs in row] for row in found]
    return Map(
        title="without norm" if norm == "none" else "with batch norm",
        x_label="learning rate",
        y_label="start",
        values=tuple(tuple(median(cell) if cell else nan for cell in row) for row in steps),
        colour_label="steps",
        x_ticks=tuple(text_of(rate) for rate in params.rates),
        y_ticks=tuple(start_name(params, gain) for gain in params.gains),
        texts=tuple(tuple(row) for row in texts),
        log=True,
    )


def _steps(params: Params, runs: Sequence[RunResult]) -> list[int]:
    return [step for run in runs if (step := arrived(params, run)) is not None]


def _text(params: Params, runs: Sequence[RunResult]) -> str:
    if not runs:
        return "no run"
    steps = _steps(params, runs)
    if not steps:
        return "diverged" if all(run.has_diverged for run in runs) else "never"
    share = "" if len(steps) == len(runs) else f" ({len(steps)} of {len(runs)})"
    return f"{median(steps):.0f}{share}"
