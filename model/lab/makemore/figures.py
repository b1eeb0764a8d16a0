"""Figures of the makemore experiment."""

from collections.abc import Mapping, Sequence
from typing import Any

from model.figures.charts import Curve, Curves, Figure, Guide, Map, Panel, Ridges, Role
from model.lab.bands import band, over_seeds
from model.lab.makemore.arms import BATCH, NORMS, STARTS, Params, deep_arm
from model.lab.makemore.calibration import Calibrated
from model.lab.makemore.depth import What, deviations, layers_of
from model.lab.makemore.starts import StartOf, Starts
from model.lab.results import Results, RunResult, Series
from model.measures.values import evenly

ROLES: tuple[Role, ...] = (
    *("none", "other", "third", "fourth", "batch"),
    *("noisy", "fifth", "aside"),
)
TITLES = {"none": "without norm", "batch": "with batch norm"}
WORDS: Mapping[What, str] = {
    "outputs": "tanh output",
    "gradients": "gradient by the tanh output",
}


def figures(
    params: Params,
    results: Results,
    starts: Starts,
    losses: Mapping[tuple[str, int], Sequence[Calibrated]],
) -> tuple[Figure, ...]:
    """Those for which there is anything to show."""
    found = (
        _maps(starts),
        _depth(params, results),
        *(_histograms(params, results, what) for what in WORDS),
        _updates(params, results),
        _losses(results),
        _calibration(losses),
    )
    return tuple(figure for figure in found if figure is not None)


def _figure(
    name: str, title: str, evidence: str, panels: Sequence[Panel], **fields: Any
) -> Figure | None:
    return Figure(name, title, evidence, tuple(panels), **fields) if panels else None


def _maps(starts: Starts) -> Figure | None:
    seed = min((one.seed for one in starts), default=0)
    return _figure(
        "map",
        "Which values of the hidden layer are saturated, before the first step",
        "From the naive start most values are saturated. Smaller weights or batch norm take that "
        "away; hardly a column is white from top to bottom in any of them.",
        [_map(one) for one in starts if one.seed == seed],
        notes=(f"seed {seed}; white: |tanh| > .99",),
    )


def _map(one: StartOf) -> Map:
    return Map(
        title=one.arm,
        x_label="unit",
        y_label="row",
        values=tuple(tuple(row) for row in (1 - one.map.double()).tolist()),
        colour_label="",
        classes=("saturated", "moves"),
    )


def _depth(params: Params, results: Results) -> Figure | None:
    panels = [
        panel
        for what in WORDS
        for norm in NORMS
        if (panel := _by_layer(params, results, what, norm)) is not None
    ]
    return _figure(
        "depth",
        "How activations and gradients change with depth, before the first step",
        "Without norm the gain of the weights decides whether activations or gradients vanish or "
        "grow with depth; with batch norm activations are the same at every depth and gain.",
        panels,
        columns=2,
    )


def _by_layer(params: Params, results: Results, what: What, norm: str) -> Curves | None:
    curves = []
    for gain, role in zip(params.gains, ROLES, strict=False):
        found = [deviations(run, what) for run in results.of(deep_arm(norm, gain))]
        series = [Series(tuple(range(1, len(one) + 1)), tuple(one)) for one in found if one]
        curves += [over_seeds(series, f"gain {gain:g}", role)] if series else []
    if not curves:
        return None
    title = f"{WORDS[what]}, {TITLES[norm]}"
    return Curves(title, "tanh layer", f"sd of {WORDS[what]}", tuple(curves), y_log=True)


def _histograms(params: Params, results: Results, what: What) -> Figure | None:
    gains = dict.fromkeys((params.gains[0], params.gains[-1]))
    shown = [(gain, norm) for gain in gains for norm in NORMS]
    seed = _one_seed(results, [deep_arm(norm, gain) for gain, norm in shown])
    panels = [
        _ridges(run, what, norm, gain)
        for gain, norm in shown
        if (run := results.run(deep_arm(norm, gain), seed)) is not None and layers_of(run)
    ]
    evidence = {
        "outputs": "Without norm a small gain lets the activations shrink from layer to layer and "
        "a large one drives them to the ends; with batch norm all layers look alike.",
        "gradients": "What a gain does to the gradients of the layers, without norm and with it.",
    }
    return _figure(
        "activations" if what == "outputs" else "activation-gradients",
        f"Histograms of the {WORDS[what]} of every layer, before the first step",
        evidence[what],
        panels,
        columns=2,
        share_x=what == "outputs",
        share_y=False,
        notes=(
            f"seed {seed}; layer 1 lowest"
            + ("" if what == "outputs" else "; every panel has a scale of its own"),
        ),
    )


def _one_seed(results: Results, arms: Sequence[str]) -> int:
    """The first seed that all of these arms have, or that any has."""
    found = [{run.seed for run in results.of(arm)} for arm in arms]
    return min(set.intersection(*found) or set.union(*found), default=0)


def _ridges(run: RunResult, what: What, norm: str, gain: float) -> Ridges:
    layers = [layer for layer in layers_of(run) if layer[what]["low"] is not None]
    shown = [layer[what] for layer in layers]
    return Ridges(
        title=f"gain {gain:g}, {TITLES[norm]}",
        x_label=WORDS[what],
        labels=tuple(f"layer {layer['layer']}" for layer in layers),
        edges=tuple(_edges(one) for one in shown),
        densities=tuple(tuple(one["density"]) for one in shown),
        role="none" if norm == "none" else "batch",
    )


def _edges(histogram: Mapping[str, Any]) -> tuple[float, ...]:
    """Bins are equal parts of `low` to `high`."""
    bins, low, high = len(histogram["density"]), histogram["low"], histogram["high"]
    return tuple(low + (high - low) * n / bins for n in range(bins + 1))


def _updates(params: Params, results: Results) -> Figure | None:
    gains = dict.fromkeys((params.gains[0], min(params.gains, key=_from_tanh), params.gains[-1]))
    panels = [
        panel
        for gain in gains
        for norm in NORMS
        if (panel := _update(params, results, norm, gain)) is not None
    ]
    return _figure(
        "updates",
        "Update of each layer's weights over their size",
        "About a thousandth of the weights' deviation a step is the notebook's rule of thumb. "
        "Without norm a small gain starves the hidden layers of updates at the start; with batch "
        "norm the gain sets one level for all of them.",
        panels,
        columns=2,
    )


def _from_tanh(gain: float) -> float:
    return abs(gain - 5 / 3)


def _update(params: Params, results: Results, norm: str, gain: float) -> Curves | None:
    runs = results.of(deep_arm(norm, gain))
    layers = evenly(params.depth + 1, len(ROLES))
    name = "gradients.update_to_data."
    curves = [
        band(runs, f"{name}{layer + 1}", f"layer {layer + 1}", role)
        for layer, role in zip(layers, ROLES, strict=False)
        if any(f"{name}{layer + 1}" in run.series for run in runs)
    ]
    if not curves:
        return None
    return Curves(
        f"gain {gain:g}, {TITLES[norm]}",
        "optimizer steps",
        "sd of update / sd of weights",
        tuple(curves),
        y_log=True,
        guides=(Guide(1e-3, "a thousandth"),),
    )


def _losses(results: Results) -> Figure | None:
    panels = (
        _loss(results, "train_loss", "training loss"),
        _loss(results, "test_loss", "held-out loss"),
    )
    return _figure(
        "losses",
        "What the start costs over training",
        "A start that is confidently wrong spends its first steps on unlearning that, and what it "
        "then learns of the training rows need not hold for others.",
        [panel for panel in panels if panel.curves],
        columns=2,
        notes=(
            "training loss: means over the mini-batches since the point before; held-out loss: "
            "eval mode, running statistics",
        ),
    )


def _loss(results: Results, name: str, title: str) -> Curves:
    curves = [
        band(results.of(arm), name, arm, role)
        for arm, role in zip(STARTS, ROLES, strict=False)
        if any(name in run.series for run in results.of(arm))
    ]
    return Curves(title, "optimizer steps", "loss", tuple(curves), y_log=True)


def _calibration(losses: Mapping[tuple[str, int], Sequence[Calibrated]]) -> Figure | None:
    found = [one for (arm, _), one in sorted(losses.items()) if arm == BATCH and one]
    if not found:
        return None
    running = [Series(_steps(one), tuple(x.running for x in one)) for one in found]
    precise = [Series(_steps(one), tuple(x.recomputed for x in one)) for one in found]
    curves: tuple[Curve, ...] = (
        over_seeds(running, "running statistics", "none"),
        over_seeds(precise, "statistics of training rows", "batch"),
    )
    panel = Curves("held-out loss", "optimizer steps", "loss", curves)
    return _figure(
        "calibration",
        "Running statistics and those of training rows",
        "Until running statistics have forgotten where they began, eval mode is wrong by them "
        "and not by the weights.",
        [panel],
    )


def _steps(found: Sequence[Calibrated]) -> tuple[int, ...]:
    return tuple(one.step for one in found)
