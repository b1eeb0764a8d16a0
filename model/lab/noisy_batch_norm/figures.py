"""How the four arms train, and how stable what enters their units is."""

from collections.abc import Iterator, Sequence
from math import nan

from model.figures.charts import Curve, Curves, Figure, Guide, Ridges, Role
from model.lab.bands import band, over_seeds
from model.lab.drift import drift, known, probed
from model.lab.noisy_batch_norm.plan import ARMS, Arm, NoisyParams, arm_name
from model.lab.noisy_batch_norm.stability import UNIT, num_layers, one_unit, unit_means
from model.lab.results import Results, RunResult, Series

ROLES: dict[Arm, Role] = {
    "none": "none",
    "batch": "batch",
    "noisy_batch": "noisy",
    "noise": "other",
}
WORDS: dict[Arm, str] = {
    "none": "no norm",
    "batch": "batch norm",
    "noisy_batch": "noisy batch norm",
    "noise": "noise, no norm",
}
OfArms = Sequence[tuple[Arm, RunResult]]
METRICS = {"test_accuracy": "test accuracy", "train_accuracy": "training accuracy"}


def figures(params: NoisyParams, results: Results) -> Iterator[Figure]:
    """Every figure that the runs can show."""
    if not any(run.counts for run in results.runs):
        return
    yield _accuracy(params, results)
    if any(num_layers(run) for run in results.runs if run.counts):
        yield _drift(params, results)
    first = _first_seed(params, results)
    if first:
        yield _one_unit(params, first)
        yield _ridges(params, results, first)


def _accuracy(params: NoisyParams, results: Results) -> Figure:
    panels = tuple(_curves(params, results, metric, lr) for metric in METRICS for lr in params.lr)
    evidence = (
        "The claim: batch norm trains about as well with noise behind it, and far better than no "
        "norm; the noise alone does harm."
    )
    return Figure("accuracy", "Accuracy while training", evidence, panels, columns=len(params.lr))


def _curves(params: NoisyParams, results: Results, metric: str, lr: float) -> Curves:
    runs = {arm: results.of(arm_name(arm, lr)) for arm in ARMS}
    curves = (band(runs[arm], metric, WORDS[arm], ROLES[arm]) for arm in ARMS if runs[arm])
    first, last = params.early
    guides = (Guide(first, f"step {first:,}", "x"), Guide(last, f"step {last:,}", "x"))
    return Curves(
        f"lr {lr:g}",
        "optimizer steps",
        METRICS[metric],
        tuple(curves),
        guides=guides,
        y_range=(0.0, 1.0),
    )


def _drift(params: NoisyParams, results: Results) -> Figure:
    panels = tuple(_drift_curves(params, results, lr) for lr in params.lr)
    return Figure(
        "drift",
        "How far the mean of what enters a unit wanders",
        "The claim: with noise behind it, batch norm does not keep the inputs of units in place.",
        panels,
        columns=len(panels),
        notes=(
            f"Standard deviation over time, from step {params.early[0]:,} on, of the mean of what "
            "enters each unit's activation on fixed training rows; mean over the units of a layer.",
        ),
    )


def _drift_curves(params: NoisyParams, results: Results, lr: float) -> Curves:
    runs = {arm: results.of(arm_name(arm, lr)) for arm in ARMS}
    curves = (
        over_seeds([_by_layer(params, run) for run in runs[arm]], WORDS[arm], ROLES[arm])
        for arm in ARMS
        if runs[arm]
    )
    y_label = "deviation over time"
    return Curves(f"lr {lr:g}", "activation layer", y_label, tuple(curves), y_log=True)


def _by_layer(params: NoisyParams, run: RunResult) -> Series:
    layers = range(num_layers(run))
    found = [drift(unit_means(layer), params.early[0])(run).value for layer in layers]
    return Series(tuple(n + 1 for n in layers), tuple(nan if x is None else x for x in found))


def _one_unit(params: NoisyParams, runs: OfArms) -> Figure:
    panels = tuple(_mean_and_deviation(arm, run) for arm, run in runs)
    return Figure(
        "one-unit",
        f"What enters one unit's activation, lr {params.lr[0]:g}",
        "What the noise does to the distribution that batch norm keeps in place.",
        panels,
        columns=2,
        notes=(f"{_unit(runs)} Line: mean; band: one deviation to both sides.",),
    )


def _mean_and_deviation(arm: Arm, run: RunResult) -> Curves:
    found = [(step, layers[len(layers) // 2]) for step, layers in probed(run, "moments")]
    mean = [known(layer["input_mean"])[UNIT] for _, layer in found]
    sd = [known(layer["input_sd"])[UNIT] for _, layer in found]
    curve = Curve(
        label="mean",
        x=[step for step, _ in found],
        y=mean,
        role=ROLES[arm],
        low=[m - s for m, s in zip(mean, sd, strict=True)],
        high=[m + s for m, s in zip(mean, sd, strict=True)],
        band="one deviation",
    )
    return Curves(WORDS[arm], "optimizer steps", "input of the activation", (curve,))


def _ridges(params: NoisyParams, results: Results, runs: OfArms) -> Figure:
    panels = []
    for arm, run in runs:
        found = list(one_unit(results, run, num_layers(run) // 2))
        panels.append(
            Ridges(
                WORDS[arm],
                "input of the activation",
                tuple(f"step {step:,}" for step, _ in found),
                tuple(one.edges.tolist() for _, one in found),
                tuple(one.density.tolist() for _, one in found),
                role=ROLES[arm],
            )
        )
    return Figure(
        "ridges",
        f"Distribution of what enters one unit's activation, lr {params.lr[0]:g}",
        "The claim: how alike these distributions are says little of how well a network trains.",
        tuple(panels),
        columns=2,
        notes=(_unit(runs),),
    )


def _first_seed(params: NoisyParams, results: Results) -> OfArms:
    """Of every arm at the first rate, the first run that was looked at: at a rate, maybe none."""
    first = [(arm, results.of(arm_name(arm, params.lr[0]))[:1]) for arm in ARMS]
    return [(arm, run) for arm, runs in first for run in runs if num_layers(run)]


def _unit(runs: OfArms) -> str:
    layers = {num_layers(run) // 2 + 1 for _, run in runs}
    told = ", ".join(str(layer) for layer in sorted(layers))
    return (
        f"Unit {UNIT + 1} of activation layer {told} in the first seed, chosen beforehand; "
        "training mode, fixed training rows, noise included."
    )
