"""How gradients, inputs and losses went, and the post's two shifts beside each other."""

from collections.abc import Callable, Sequence
from math import isfinite, nan

from model.figures.charts import Curve, Curves, Figure, Guide, Role
from model.lab.bands import band, over_seeds
from model.lab.covariate_shift.arms import NORMS, TITLES, Params, arm_of, recipe
from model.lab.covariate_shift.shifts import cosine_name, input_name, l2_name
from model.lab.covariate_shift.test_time import STRENGTHS, Met
from model.lab.rank_levels import guides, rank_levels
from model.lab.results import Results, RunResult, Series

ROLES: dict[str, Role] = {"none": "none", "batch": "batch"}
STEP_ROLES: dict[str, Role] = {"none": "third", "batch": "fourth"}
WORDS = {"none": "no norm", "batch": "batch norm"}
SEEDS = "lines: median over seeds; bands: lowest to highest"


def draw(params: Params, results: Results, met: Sequence[Met]) -> tuple[Figure, ...]:
    """Every figure of which there is something to see."""
    found: list[Figure] = []
    for network in params.networks:
        if any(results.of(arm_of(network, norm)) for norm in NORMS):
            found += [
                _gradients(params, results, network),
                _inputs(params, results, network),
                _losses(params, results, network),
            ]
    return (*found, *([_two_shifts(met)] if met else []))


def _gradients(params: Params, results: Results, network: str) -> Figure:
    panels = []
    for layer in recipe(params, network).layers:
        title = f"layer {layer}"
        distance = _curves(results, network, l2_name(layer))
        angle = _curves(results, network, cosine_name(layer))
        panels += [
            Curves(title, "optimizer steps", "|G - G'|", distance, y_log=True),
            Curves(title, "optimizer steps", "cosine", angle, y_range=(-1.05, 1.05)),
        ]
    return Figure(
        f"gradients-{_slug(network)}",
        f"Shift of the gradient by one step of the layers before it: {TITLES[network]}",
        "If batch norm reduced internal covariate shift, its distances would be smaller and its "
        "cosines nearer to 1.",
        tuple(panels),
        columns=2,
        notes=(SEEDS, "0 and 1 where there is no shift"),
    )


def _inputs(params: Params, results: Results, network: str) -> Figure:
    panels = tuple(
        Curves(
            f"layer {layer}",
            "optimizer steps",
            "Wasserstein distance, SDs",
            _curves(results, network, input_name(layer)),
            y_log=True,
        )
        for layer in recipe(params, network).layers
    )
    return Figure(
        f"inputs-{_slug(network)}",
        f"Shift of a layer's input by one step: {TITLES[network]}",
        "The post's own definition: by how much of its spread does the input of a layer move in "
        "one step, with batch norm and without?",
        panels,
        columns=3,
        notes=(SEEDS, "each value is the median over a layer's units, on the same rows"),
    )


def _losses(params: Params, results: Results, network: str) -> Figure:
    is_sum = network == "deep_linear"
    found = [run for norm in NORMS for run in results.of(arm_of(network, norm))]
    start = results.start(found[0])
    rows = len(start.arrays.train) if is_sum else 1
    curves = tuple(
        over_seeds([_scaled(run, rows) for run in runs], WORDS[norm], ROLES[norm])
        for norm in NORMS
        if (runs := results.of(arm_of(network, norm)))
    )
    levels: tuple[Guide, ...] = ()
    if is_sum:
        train = start.arrays.train
        levels = guides(rank_levels(train.inputs, train.targets), curves)
    label = "half the sum of squares" if is_sum else "training loss"
    panel = Curves("", "optimizer steps", label, curves, y_log=True, guides=levels)
    lingers = ("a map of low rank is a saddle, near which training lingers",) if levels else ()
    return Figure(
        f"loss-{_slug(network)}",
        f"Training loss: {TITLES[network]}",
        "Batch norm may train faster although it does not reduce internal covariate shift.",
        (panel,),
        notes=(SEEDS, *lingers),
    )


def _two_shifts(met: Sequence[Met]) -> Figure:
    return Figure(
        "two-shifts",
        "Covariate shift at test time, and internal covariate shift in training",
        "Shifted inputs move what every layer gets by far more than a training step does, and new "
        "statistics take most of it back.",
        (_by_layer(met), _by_strength(met)),
        columns=2,
        notes=(
            SEEDS,
            "test rows whose contrast falls by 70 % and whose darkest value rises by 35 % of the "
            "range, at full strength",
            "a training step does not move the input of layer 1",
        ),
    )


def _by_layer(met: Sequence[Met]) -> Curves:
    found: list[Curve] = []
    for norm in NORMS:
        mine = [one for one in met if one.norm == norm]
        if mine:
            stale = "" if norm == "none" else ", statistics of training"
            label = f"shifted inputs, {WORDS[norm]}{stale}"
            found.append(_over_layers(mine, lambda one: one.apart, label, ROLES[norm]))
    anew = [one for one in met if one.apart_anew]
    if anew:
        label = "shifted inputs, batch norm, new statistics"
        found.append(_over_layers(anew, lambda one: one.apart_anew, label, "other"))
    for norm in NORMS:
        mine = [one for one in met if one.norm == norm and len(one.inside) > 1]
        if mine:
            label = f"one training step, {WORDS[norm]}"
            found.append(_over_layers(mine, _inside, label, STEP_ROLES[norm]))
    title = "how far the input of each layer moves"
    return Curves(title, "layer", "Wasserstein distance, SDs", tuple(found), y_log=True)


def _by_strength(met: Sequence[Met]) -> Curves:
    found: list[Curve] = []
    for norm in NORMS:
        mine = [Series(STRENGTHS, one.accuracy) for one in met if one.norm == norm]
        if mine:
            stale = "" if norm == "none" else ", statistics of training"
            found.append(over_seeds(mine, f"{WORDS[norm]}{stale}", ROLES[norm]))
    anew = [Series(STRENGTHS, one.anew) for one in met if one.anew]
    if anew:
        found.append(over_seeds(anew, "batch norm, new statistics", "other"))
    title = "test accuracy in eval mode"
    return Curves(title, "strength of the shift, %", "accuracy", tuple(found), y_range=(0, 1.02))


def _inside(one: Met) -> tuple[float, ...]:
    """Without the first layer, whose input no step moves."""
    return (nan, *one.inside[1:])


def _over_layers(
    met: Sequence[Met], of: Callable[[Met], tuple[float, ...]], label: str, role: Role
) -> Curve:
    series = []
    for one in met:
        pairs = [(layer, value) for layer, value in enumerate(of(one), 1) if isfinite(value)]
        series.append(Series(tuple(x for x, _ in pairs), tuple(y for _, y in pairs)))
    return over_seeds(series, label, role)


def _curves(results: Results, network: str, name: str) -> tuple[Curve, ...]:
    return tuple(
        band(runs, name, WORDS[norm], ROLES[norm])
        for norm in NORMS
        if (runs := results.of(arm_of(network, norm)))
    )


def _scaled(run: RunResult, factor: int) -> Series:
    found = run.series.get("train_loss", Series((), ()))
    return Series(found.steps, tuple(factor * value for value in found.values))


def _slug(network: str) -> str:
    return network.replace("_", "-")
