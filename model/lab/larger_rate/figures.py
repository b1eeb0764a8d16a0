"""The figures of Bjorck et al. 2018, both arms beside each other on one scale."""

from collections.abc import Callable, Sequence
from math import nan
from statistics import fmean

from model.figures.charts import Bars, BarSeries, Curve, Curves, Figure, Guide, Map, Role
from model.figures.text import percent
from model.lab.bands import by_place
from model.lab.compare import Of
from model.lab.larger_rate.beginnings import PLACES, Beginning, elements, of_norm, shares
from model.lab.larger_rate.crossings import chosen, look
from model.lab.larger_rate.plan import NORMS, LargerRateParams, Norm, trained_arm
from model.lab.results import Results, RunResult
from model.measures.depth_moments import LayerMoments

ROLES: dict[Norm, Role] = {"none": "none", "batch": "batch"}
NAMES: dict[Norm, str] = {"none": "without norm", "batch": "with batch norm"}
MOST_RATIO, LEAST_RATIO, DIVERGED = 1e4, 1e-2, 1e3  # of losses: drawn, and where it is lost
ROWS = 32  # of the heat map


def relative_loss(params: LargerRateParams, results: Results) -> Figure:
    """Loss after a step over the loss before, at each mini-batch."""
    panels = tuple(_relative_loss(params, results, one) for one in params.batches)
    return Figure(
        "relative-loss",
        "Loss after one step along the gradient, by its length",
        "With batch norm the steps that lower the loss are at least ten times as long.",
        panels,
        columns=len(panels),
        notes=(f"losses above {MOST_RATIO:g} times the one before are drawn at that height",),
    )


def depth(beginnings: Sequence[Beginning]) -> Figure:
    """Moments of what leaves each block, before the first step."""
    sizes = {"deviation": _deviation, "|mean|": _mean_size}
    panels = tuple(_depth(beginnings, name, of) for name, of in sizes.items())
    return Figure(
        "depth",
        "Channel moments behind each block, before the first step",
        "Without norm values grow exponentially with depth, with batch norm they do not.",
        panels,
        columns=2,
    )


def update(params: LargerRateParams, beginnings: Sequence[Beginning]) -> Figure:
    """Moments while a share of one long update is made."""
    sizes = {"deviation": _deviation, "|mean|": _mean_size}
    panels = tuple(
        _update(params, beginnings, norm, name, of) for norm in NORMS for name, of in sizes.items()
    )
    return Figure(
        "update",
        f"Channel moments along one step of learning rate {params.large_rate:g}",
        "Without norm the step that batch norm allows blows the values up, most of all late in "
        "the network.",
        panels,
        columns=2,
    )


def gradients(beginnings: Sequence[Beginning]) -> Figure:
    """How the gradient of the layer in the middle is spread, before the first step."""
    curves = tuple(
        by_place(
            [dict(zip(elements(), one.exceeded, strict=True)) for one in of_norm(beginnings, norm)],
            norm,
            ROLES[norm],
        )
        for norm in NORMS
    )
    panel = Curves(
        "", "share of the weights", "size of the gradient", curves, x_log=True, y_log=True
    )
    return Figure(
        "gradients",
        "Gradient of the middle layer, before the first step",
        "Without norm gradients are far larger, and their largest ones stand out more.",
        (panel,),
        notes=("each point: the size that this share of the layer's gradients exceeds",),
    )


def outputs(beginnings: Sequence[Beginning]) -> Figure:
    """Gradients of the loss by the outputs, row by row, of the first seed."""
    firsts = [of_norm(beginnings, norm)[:1] for norm in NORMS]
    panels = tuple(_outputs(one) for some in firsts for one in some)
    return Figure(
        "output-gradients",
        "Gradients of the loss by the outputs, before the first step",
        "Without norm most rows push the same class; with batch norm they differ.",
        panels,
        columns=2,
        notes=(f"first seed, the first {ROWS} rows of the first mini-batch",),
    )


def accuracy(params: LargerRateParams, results: Results, of: Of) -> Figure:
    """Accuracy at the end at both rates."""
    rates = (params.small_rate, params.large_rate)
    panel = Bars(
        "",
        "test accuracy, percent",
        tuple(f"rate {rate:g}" for rate in rates),
        tuple(_bar(results, norm, rates, of) for norm in NORMS),
    )
    return Figure(
        "accuracy",
        "Test accuracy at the end, at both rates",
        "At the small rate the arms are alike; batch norm gains by the large one.",
        (panel,),
        notes=("bars are means, dots are seeds; a run that diverged counts as 0",),
    )


def _relative_loss(params: LargerRateParams, results: Results, batch: int) -> Curves:
    return Curves(
        f"mini-batch {batch}",
        "learning rate of the step",
        "loss after / before",
        tuple(_tried(params, results, norm, batch) for norm in NORMS),
        x_log=True,
        y_log=True,
        guides=(Guide(1.0, "the loss before"), Guide(DIVERGED, "diverged")),
        y_range=(LEAST_RATIO, MOST_RATIO),
    )


def _tried(params: LargerRateParams, results: Results, norm: Norm, batch: int) -> Curve:
    runs = [chosen(params, results, norm, seed) for seed in results.planned_seeds]
    known = [_ratios(run, batch) for run in runs if run is not None]
    return by_place([one for one in known if one], norm, ROLES[norm])


def _ratios(run: RunResult, batch: int) -> dict[float, float]:
    found = look(run, batch)
    pairs = zip(found.alphas, found.ratios, strict=True)
    return {a: MOST_RATIO if one is None else min(one, MOST_RATIO) for a, one in pairs}


def _depth(
    beginnings: Sequence[Beginning], name: str, of: Callable[[LayerMoments], float]
) -> Curves:
    curves = tuple(
        by_place(
            [dict(enumerate(map(of, one.depth), 1)) for one in of_norm(beginnings, norm)],
            norm,
            ROLES[norm],
        )
        for norm in NORMS
    )
    return Curves(f"mean over channels of the {name}", "block", name, curves, y_log=True)


def _update(
    params: LargerRateParams,
    beginnings: Sequence[Beginning],
    norm: Norm,
    name: str,
    of: Callable[[LayerMoments], float],
) -> Curves:
    mine = of_norm(beginnings, norm)
    roles: tuple[Role, ...] = ("other", "third", "fourth")
    curves = (
        by_place(
            [dict(zip(shares(), (of(row[i]) for row in one.along), strict=True)) for one in mine],
            f"{place}: {_name(mine, i)}",
            role,
        )
        for (i, place), role in zip(enumerate(PLACES), roles, strict=True)
    )
    return Curves(
        f"{NAMES[norm]}, {name}",
        "share of the update",
        f"mean over channels of the {name}",
        tuple(curves),
        x_log=True,
        y_log=True,
    )


def _name(mine: Sequence[Beginning], index: int) -> str:
    """Which block it is, counted from 1."""
    if not mine:
        return ""
    names = [layer.name for layer in mine[0].depth]
    return f"block {names.index(mine[0].along[0][index].name) + 1} of {len(names)}"


def _outputs(one: Beginning) -> Map:
    shown = one.outputs.gradients[:ROWS].tolist()
    return Map(
        title=f"{NAMES[one.norm]}: {percent(one.outputs.same_class)} of rows given one class",
        x_label="class",
        y_label="row",
        values=tuple(tuple(row) for row in shown),
        colour_label="gradient",
        scale="diverging",
    )


def _bar(results: Results, norm: Norm, rates: Sequence[float], of: Of) -> BarSeries:
    found = [[of(run).value for run in results.of(trained_arm(norm, rate))] for rate in rates]
    seeds = tuple([value for value in one if value is not None] for one in found)
    means = [fmean(values) if values else nan for values in seeds]
    return BarSeries(norm, means, ROLES[norm], seeds=seeds)


def _deviation(one: LayerMoments) -> float:
    return one.mean_deviation


def _mean_size(one: LayerMoments) -> float:
    return one.mean_size
