"""Loss, change of the gradient and beta over training, as the paper draws them and over seeds."""

from collections.abc import Callable, Sequence
from math import inf

from model.figures.charts import Curve, Curves, Figure, Guide, Role
from model.figures.text import percent
from model.lab.bands import over_seeds
from model.lab.landscape.arms import EARLY, NORMS, Params
from model.lab.landscape.look import one_seed
from model.lab.landscape.widths import (
    BETA,
    BETA_AT_LR,
    LOSS_MAX,
    LOSS_MIN,
    PREDICTIVENESS,
    PREDICTIVENESS_MIN,
    widths,
)
from model.lab.results import Results, RunResult, Series

ROLES: dict[str, Role] = {"none": "none", "batch": "batch"}
LAST = "after the last step there is no next batch: that point is on the one just trained on"
WORDS = {"none": "no norm", "batch": "batch norm"}


def draw(params: Params, results: Results) -> tuple[Figure, ...]:
    """Both figures; none where no run counts."""
    seed = one_seed(*([run.seed for run in results.of(norm)] for norm in NORMS))
    if seed is None:
        return ()
    found = [run for norm in NORMS if (run := results.run(norm, seed)) is not None]
    return _published(params, found), _over_seeds(params, results)


def _published(params: Params, runs: Sequence[RunResult]) -> Figure:
    panels = (
        *(_losses(params, run) for run in runs),
        *(_changes(run) for run in runs),
        *(_beta(params, run) for run in runs),
    )
    return Figure(
        "landscape",
        "Loss and gradient along the gradient",
        "With batch norm the loss varies less along the gradient, and the gradient predicts itself "
        "better.",
        panels,
        columns=len(runs),
        notes=(
            f"seed {runs[0].seed}; bands: from the least to the most over the step lengths",
            LAST,
        ),
    )


def _losses(params: Params, run: RunResult) -> Curves:
    lengths = f"steps of {params.low:g} to {params.high:g} learning rates"
    title = f"loss after {lengths}, {WORDS[run.arm]}"
    curve = _span(run, LOSS_MIN, LOSS_MAX, run.arm)
    return Curves(title, "optimizer steps", "loss", (curve,), y_log=True)


def _changes(run: RunResult) -> Curves:
    title = f"change of the gradient, {WORDS[run.arm]}"
    curve = _span(run, PREDICTIVENESS_MIN, PREDICTIVENESS, run.arm)
    return Curves(title, "optimizer steps", "|g - g(theta - alpha g)|", (curve,), y_log=True)


def _beta(params: Params, run: RunResult) -> Curves:
    floor = Guide(1 / (params.low * params.lr), "1 / shortest step")
    title = f"effective beta, {WORDS[run.arm]}"
    curve = _line(run, BETA, run.arm)
    return Curves(title, "optimizer steps", "beta", (curve,), guides=(floor,))


def _over_seeds(params: Params, results: Results) -> Figure:
    panels = (
        _panel(params, results, "width of the loss's band", "largest - smallest loss", widths),
        _panel(
            params, results, "change of the gradient", "largest |g - g'|", _named(PREDICTIVENESS)
        ),
        _panel(params, results, "effective beta", "beta", _named(BETA)),
        _panel(params, results, "beta at a step of lr", "beta", _named(BETA_AT_LR)),
    )
    return Figure(
        "over-seeds",
        "The same over all seeds",
        "What is judged: everything before the line.",
        panels,
        columns=2,
        notes=("lines: median over seeds; bands: lowest to highest", LAST),
    )


def _panel(
    params: Params, results: Results, title: str, label: str, of: Callable[[RunResult], Series]
) -> Curves:
    curves = tuple(
        over_seeds([of(run) for run in runs], WORDS[norm], ROLES[norm])
        for norm in NORMS
        if (runs := results.of(norm))
    )
    line = Guide(params.early[1], f"{percent(EARLY)} of the steps", "x")
    return Curves(title, "optimizer steps", label, curves, y_log=True, guides=(line,))


def _named(name: str) -> Callable[[RunResult], Series]:
    def of(run: RunResult) -> Series:
        return run.series.get(name, Series((), ()))

    return of


def _span(run: RunResult, low: str, high: str, norm: str) -> Curve:
    least, most = (run.series.get(name, Series((), ())) for name in (low, high))
    ends = [value if value == value else inf for value in most.values]
    return Curve(
        WORDS[norm], most.steps, ends, ROLES[norm], least.values, ends, band="step lengths"
    )


def _line(run: RunResult, name: str, norm: str) -> Curve:
    found = run.series.get(name, Series((), ()))
    return Curve(WORDS[norm], found.steps, found.values, ROLES[norm])
