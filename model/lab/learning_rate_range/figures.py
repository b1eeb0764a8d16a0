"""Accuracy and speed against the learning rate, and training itself at each of them."""

from collections.abc import Sequence

from model.figures.charts import Curve, Curves, Figure, Guide, Role
from model.lab.bands import band, by_place
from model.lab.compare import last
from model.lab.learning_rate_range.plan import ACTIVATIONS, NORMS, Act, Norm, RangeParams, arm_of
from model.lab.learning_rate_range.reach import METRIC, Reach
from model.lab.results import Results

ROLES: dict[Norm, Role] = {"none": "none", "batch": "batch"}


def by_rate(params: RangeParams, results: Results, guess: float) -> Figure:
    """Accuracy at the end against the learning rate, of ReLUs and of sigmoids."""
    return Figure(
        "accuracy-by-rate",
        "Accuracy at the end, by learning rate",
        "With batch norm the network trains at larger rates, and a deep one of sigmoids at all.",
        tuple(_by_rate(params, results, act, guess) for act in ACTIVATIONS),
        columns=len(ACTIVATIONS),
        notes=("a run that diverged counts as 0",),
    )


def steps_by_rate(params: RangeParams, reaches: Sequence[Reach]) -> Figure:
    """Steps to the best accuracy without norm, against the learning rate."""
    curves = tuple(
        by_place([_steps(params, one, norm) for one in reaches], norm, ROLES[norm])
        for norm in NORMS
    )
    panel = Curves(
        "ReLU",
        "learning rate",
        "steps",
        curves,
        x_log=True,
        y_log=True,
        guides=(Guide(params.steps, f"never in {params.steps:,} steps"),),
    )
    return Figure(
        "steps-by-rate",
        "Optimizer steps to the best accuracy that the network has without norm",
        "With batch norm the same accuracy is reached in fewer steps.",
        (panel,),
    )


def training(params: RangeParams, results: Results, guess: float) -> Figure:
    """Test accuracy while the ReLU network trains, a panel for each rate."""
    panels = tuple(_training(params, results, one, guess) for one in params.multipliers)
    return Figure(
        "training",
        "Test accuracy while training, ReLU",
        "Without norm a few times the base rate is too much; with batch norm many times is not.",
        panels,
        columns=min(3, len(panels)),
    )


def _by_rate(params: RangeParams, results: Results, activation: Act, guess: float) -> Curves:
    seeds = results.planned_seeds
    return Curves(
        "ReLU" if activation == "relu" else "sigmoid",
        "learning rate",
        "test accuracy",
        tuple(
            by_place(
                [_ends(params, results, activation, norm, seed) for seed in seeds],
                norm,
                ROLES[norm],
            )
            for norm in NORMS
        ),
        x_log=True,
        guides=(Guide(guess, "guessing"),),
        y_range=(0.0, 1.0),
    )


def _ends(
    params: RangeParams, results: Results, activation: Act, norm: Norm, seed: int
) -> dict[float, float]:
    runs = Reach(params, results, seed).runs(activation, norm)
    ends = {one: last(METRIC, 0.0)(run).value for one, run in runs.items()}
    known = {one: value for one, value in ends.items() if value is not None}
    return {params.rate(one): value for one, value in known.items()}


def _steps(params: RangeParams, reach: Reach, norm: Norm) -> dict[float, float]:
    found = {one: reach.steps(run) for one, run in reach.runs("relu", norm).items()}
    known = {key: one.value for key, one in found.items() if one.value is not None}
    return {params.rate(one): value for one, value in known.items()}


def _training(params: RangeParams, results: Results, multiplier: float, guess: float) -> Curves:
    curves = list[Curve]()
    for norm in NORMS:
        runs = results.of(arm_of("relu", norm, multiplier))
        if runs:
            curves.append(band(runs, METRIC, norm, ROLES[norm]))
    return Curves(
        f"rate {params.rate(multiplier):g}: base x {multiplier:g}",
        "optimizer steps",
        "test accuracy",
        tuple(curves),
        guides=(Guide(guess, "guessing"),),
        y_range=(0.0, 1.0),
    )
