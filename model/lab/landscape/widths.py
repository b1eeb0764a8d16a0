"""How far loss and gradient vary along the gradient: numbers of runs, effects and tables."""

from math import inf, isfinite
from statistics import median
from typing import Any

from model.figures.text import percent
from model.lab.compare import Of, Outcome, paired
from model.lab.landscape.arms import EARLY, NORMS, Params
from model.lab.report import Cell, Table
from model.lab.results import Results, RunResult, Series
from model.lab.typical import largest_size, size
from model.lab.verdict import Declared, Effect, judge

LOSS_MIN, LOSS_MAX = "landscape.loss_min", "landscape.loss_max"
PREDICTIVENESS_MIN = "landscape.predictiveness_min"
PREDICTIVENESS = "landscape.predictiveness_max"
BETA, BETA_AT_LR = "landscape.beta", "landscape.beta_at_lr"
_WHEN = f"over the first {percent(EARLY)} of steps: none / batch"

BAND = Declared(f"median width of the loss along the gradient, {_WHEN}", "", "ratio", "above", 3.0)
OTHERS = {
    PREDICTIVENESS: Declared(
        f"largest change of the gradient along itself, {_WHEN}", "", "ratio", "above", 3.0
    ),
    BETA: Declared(f"largest effective beta, {_WHEN}", "", "ratio", "above", 1.3),
    BETA_AT_LR: Declared(f"largest beta at a step of lr, {_WHEN}", "", "ratio", "above", 1.3),
}
LATE = Declared(
    "median width of the loss along the gradient, over the rest of the steps: none / batch",
    *("", "ratio", "above", 3.0),
)
SLOPE = Declared(f"largest norm of the gradient, {_WHEN}", "", "ratio", "above", 1.3)


def widths(run: RunResult) -> Series:
    """Of each probe, how far the loss varies over the step lengths; infinite where it is."""
    low, high = (run.series.get(name, Series((), ())) for name in (LOSS_MIN, LOSS_MAX))
    pairs = zip(low.values, high.values, strict=True)
    found = (most - least if isfinite(most) else inf for least, most in pairs)
    return Series(high.steps, tuple(found))


def slopes(run: RunResult) -> Series:
    """Of each probe, the norm of the gradient: the steepest that the loss is just there."""
    told = [(one.step, _finite(one.data.get("gradient_norm"))) for one in _readable(run)]
    return Series(tuple(step for step, _ in told), tuple(value for _, value in told))


def primary(params: Params, results: Results) -> Effect:
    """How much wider the loss's band is without norm."""
    return _judged(results, BAND, band_of(params))


def others(params: Params, results: Results) -> tuple[Effect, ...]:
    """The same of the gradient, of both betas and of the loss's slope; and of what comes later."""
    found = [
        _judged(results, declared, _largest(params, name)) for name, declared in OTHERS.items()
    ]
    return (
        *found,
        _judged(results, SLOPE, _largest_slope(params)),
        _judged(results, LATE, _typical_width(params.late)),
    )


def band_of(params: Params) -> Of:
    """The median width of a run over the steps that are judged."""
    return _typical_width(params.early)


def table(params: Params, results: Results) -> Table:
    """Everything that is judged, run by run."""
    asked = (
        band_of(params),
        *(_largest(params, name) for name in OTHERS),
        _largest_slope(params),
        _typical_width(params.late),
    )
    rows, notes = [], list[str]()
    for norm in NORMS:
        for run in results.of(norm):
            outcomes = [of(run) for of in asked]
            cells: list[Cell] = [one.value for one in outcomes]
            rows.append((norm, run.seed, *cells, run.last("train_loss")))
            notes += [f"seed {run.seed}: {one.note}, a bound" for one in outcomes if one.bound]
    columns = (
        *("norm", "seed", "median width of the loss", "largest change of the gradient"),
        *("largest beta", "largest beta at lr", "largest norm of the gradient"),
        *("median width of the loss, rest of the steps", "last training loss"),
    )
    title = f"Along the gradient, over the first {percent(EARLY)} of steps"
    return Table("along", title, columns, tuple(rows), "; ".join(dict.fromkeys(notes)))


def _largest(params: Params, name: str) -> Of:
    return largest_size(name, params.early)


def _typical_width(steps: tuple[int, int]) -> Of:
    def of(run: RunResult) -> Outcome:
        return size(run, "width of the loss", _within(widths(run), steps), steps[1], median)

    return of


def _largest_slope(params: Params) -> Of:
    steps = params.early

    def of(run: RunResult) -> Outcome:
        return size(run, "gradient", _within(slopes(run), steps), steps[1], max)

    return of


def _within(series: Series, steps: tuple[int, int]) -> list[float]:
    first, last = steps
    pairs = zip(series.steps, series.values, strict=True)
    return [value for step, value in pairs if first <= step <= last]


def _judged(results: Results, declared: Declared, of: Of) -> Effect:
    return judge(declared, paired(results, declared, "none", "batch", of))


def _readable(run: RunResult) -> list[Any]:
    found = run.measured.get("landscape", ())
    return [one for one in found if "gradient_norm" in one.data]


def _finite(value: Any) -> float:
    return inf if value is None else float(value)
