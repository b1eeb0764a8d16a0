"""The loss along the gradient from each start, the steps taken, and the longest safe one."""

from itertools import takewhile
from math import ceil, floor, log10, nan
from statistics import geometric_mean

from model.figures.charts import Bars, BarSeries, Curve, Curves, Figure, Guide, Role
from model.lab.initialization.plan import (
    NORMS,
    Params,
    any_run,
    arm_of,
    start_name,
)
from model.lab.initialization.starts import StartAt, Starts, of_arm
from model.lab.objectives import on_training_rows
from model.lab.results import Results, RunResult
from model.measures.crossing import log_steps
from model.measures.objective import flatten, parameters_of

PER_DECADE = 12  # steps of a profile
MOST_RATIO, LEAST_RATIO = 30.0, 0.1  # of the loss to that at the start, which are drawn
ROLES: dict[str, Role] = {"none": "none", "batch": "batch"}


def bars(params: Params, starts: Starts) -> Figure:
    """The longest safe step of every start, both arms beside each other."""
    panel = Bars(
        title="",
        y_label="learning rate",
        groups=tuple(start_name(params, gain) for gain in params.gains),
        series=tuple(_bar(params, starts, norm) for norm in NORMS),
        y_log=True,
    )
    return Figure(
        "largest-steps",
        "The longest step along the gradient that does not raise the loss",
        "With batch norm the longest safe step hardly depends on the start.",
        (panel,),
        notes=("each bar is the geometric mean, each dot one seed",),
    )


def profiles(params: Params, results: Results, starts: Starts) -> Figure | None:
    """Rows without and with norm, columns A, B and C, of the first seed."""
    seed = results.planned_seeds[0]
    mine = [one for one in starts if one.seed == seed]
    if not mine:
        return None
    alphas = _alphas(params, mine)
    panels = [
        _panel(params, results, found[0], alphas)
        for norm in NORMS
        for gain in params.gains
        if (found := of_arm(mine, norm, gain))
    ]
    return Figure(
        "along-the-gradient",
        "Loss along the gradient from each start",
        "Without norm the longest safe step depends on the start, with batch norm hardly.",
        tuple(panels),
        columns=len(params.gains),
        notes=(
            f"first seed; on {mine[0].rows:,} training rows, statistics recomputed at every point",
            "points: the loss on these rows after the first step of each run, which it took on its "
            "own mini-batch",
            f"a line ends and a point stands at the edge where a loss is above {MOST_RATIO:g} "
            "times that at the start",
        ),
    )


def _bar(params: Params, starts: Starts, norm: str) -> BarSeries:
    values = [[one.outcome.value for one in of_arm(starts, norm, gain)] for gain in params.gains]
    known = [[value for value in some if value is not None] for some in values]
    means = [geometric_mean(some) if some else nan for some in known]
    return BarSeries(norm, means, ROLES[norm], seeds=tuple(known))


def _alphas(params: Params, starts: Starts) -> list[float]:
    """Step lengths around everything that is marked, from decade to decade."""
    marked = [*params.rates, *(one.step.alpha for one in starts if one.step.alpha is not None)]
    low, high = floor(log10(min(marked))), ceil(log10(max(marked)))
    return log_steps(10.0**low, 10.0**high, PER_DECADE)


def _panel(params: Params, results: Results, at: StartAt, alphas: list[float]) -> Curves:
    run = any_run(params, results, at.norm, at.gain, at.seed)
    assert run is not None
    wide = on_training_rows(results.start(run), results.moved).wide()
    with wide.kept():
        loss, gradient = wide.gradient(wide.here)
        losses = wide.along(wide.here, -gradient, alphas)
    ratios = list(takewhile(lambda ratio: not ratio > MOST_RATIO, (one / loss for one in losses)))
    line = Curve("along the gradient", alphas[: len(ratios)], ratios, ROLES[at.norm])
    name = "without norm" if at.norm == "none" else "with batch norm"
    alpha = at.step.alpha
    return Curves(
        title=f"{start_name(params, at.gain)}, {name}: loss {at.loss:.3g}",
        x_label="learning rate",
        y_label="loss / loss at the start",
        curves=(line, _first_steps(params, results, at, loss)),
        x_log=True,
        y_log=True,
        guides=(Guide(1.0, "loss at the start"),),
        marks=() if alpha is None else ((alpha, 1.0, f"safe up to {alpha:.2g}"),),
        y_range=(LEAST_RATIO, MOST_RATIO),
    )


def _first_steps(params: Params, results: Results, at: StartAt, before: float) -> Curve:
    """The loss after the first step of the run at each rate, trained anew."""
    x, y = list[float](), list[float]()
    for rate in params.rates:
        run = results.run(arm_of(at.norm, at.gain, rate), at.seed)
        if run is not None:
            x.append(rate)
            y.append(min(_after_one_step(results, run) / before, MOST_RATIO))
    return Curve("first steps taken", x, y, "fifth", style="points")


def _after_one_step(results: Results, run: RunResult) -> float:
    """The loss on training rows after the step that the run began with."""
    start = results.start(run)
    here = on_training_rows(start)
    next(iter(start.training.run()))
    with here.kept():
        return here.value(flatten(parameters_of(start.network)))
