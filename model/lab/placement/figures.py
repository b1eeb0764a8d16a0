"""Figures of the experiment on placement."""

from collections.abc import Callable, Mapping

import torch

from model.figures.charts import Bars, BarSeries, Curve, Curves, Figure, Guide, Role
from model.lab.bands import band, over_seeds
from model.lab.placement.arms import ARMS, Params
from model.lab.placement.closed_form import moments_behind
from model.lab.placement.looks import Look, Looks, of_run
from model.lab.results import Results, Series

ROLES: Mapping[str, Role] = {"before": "batch", "after": "other", "none": "none"}
LABELS = {"before": "norm before", "after": "norm behind", "none": "no norm"}


def figures(params: Params, results: Results, looks: Looks) -> tuple[Figure, ...]:
    """Those for which there is anything to show."""
    if not looks:
        return ()
    return (_start(params, looks), _moments(params, looks), _training(params, results))


def _start(params: Params, looks: Looks) -> Figure:
    mean, variance = moments_behind(params.activation)
    expected = f"closed form of {params.activation}"
    return Figure(
        "start",
        "What reaches the next layer before the first step",
        "Behind an activation the input of the next layer has neither mean 0 nor variance 1, also "
        "where batch norm stands before the activation.",
        (
            _bars("mean, over units", looks, _mean, (Guide(mean, expected), Guide(0.0, "0"))),
            _bars(
                "variance, over units",
                looks,
                _variance,
                (Guide(variance, expected), Guide(1.0, "1")),
            ),
        ),
        columns=2,
        share_y=False,
    )


def _bars(
    label: str, looks: Looks, of: Callable[[Look, int], float], guides: tuple[Guide, ...]
) -> Bars:
    starts = [one for one in looks if one.step == 0]
    layers = [layer.layer for layer in starts[0].layers]
    series = tuple(
        _series(arm, [[of(one, i) for one in mine] for i in range(len(layers))])
        for arm in ARMS
        if (mine := [one for one in starts if one.arm == arm])
    )
    groups = tuple(f"layer {layer}" for layer in layers)
    return Bars(label.partition(",")[0], label, groups, series, guides=guides)


def _series(arm: str, values: list[list[float]]) -> BarSeries:
    means = tuple(sum(one) / len(one) for one in values)
    return BarSeries(LABELS[arm], means, ROLES[arm], seeds=tuple(tuple(one) for one in values))


def _mean(look: Look, index: int) -> float:
    return float(look.layers[index].mean.mean())


def _variance(look: Look, index: int) -> float:
    return float(look.layers[index].variance.mean())


def _moments(params: Params, looks: Looks) -> Figure:
    panels = (
        _over_time("|mean|, over units", looks, _size_of_mean),
        _over_time("variance, over units", looks, _mean_variance),
        _over_time("distance from mean 0 and deviation 1", looks, lambda one: one.distance),
    )
    return Figure(
        "moments",
        "What reaches the next layers over training",
        "Where batch norm stands before the activation, what reaches the next layer is further "
        "from mean 0 and variance 1 than where it stands behind.",
        panels,
        columns=3,
        share_y=False,
        notes=("means over the units of all layers behind a hidden one",),
    )


def _over_time(label: str, looks: Looks, of: Callable[[Look], float]) -> Curves:
    curves = tuple(curve for arm in ARMS if (curve := _curve(arm, looks, of)) is not None)
    return Curves(label.partition(",")[0], "optimizer steps", label, curves)


def _curve(arm: str, looks: Looks, of: Callable[[Look], float]) -> Curve | None:
    seeds = sorted({one.seed for one in looks if one.arm == arm})
    found = [of_run(looks, arm, seed) for seed in seeds]
    series = [Series(tuple(x.step for x in run), tuple(map(of, run))) for run in found]
    return over_seeds(series, LABELS[arm], ROLES[arm]) if series else None


def _size_of_mean(look: Look) -> float:
    return float(torch.cat([one.mean.abs() for one in look.layers]).mean())


def _mean_variance(look: Look) -> float:
    return float(torch.cat([one.variance for one in look.layers]).mean())


def _training(params: Params, results: Results) -> Figure:
    middle = 2 + (params.layers - 1) // 2
    names = {
        "test accuracy": "test_accuracy",
        f"shift of the input of layer {middle}": f"input_shift.wasserstein.{middle}",
    }
    panels = tuple(
        Curves(
            title,
            "optimizer steps",
            title if name == "test_accuracy" else "by one step, SDs",
            tuple(
                band(results.of(arm), name, LABELS[arm], ROLES[arm])
                for arm in ARMS
                if results.of(arm)
            ),
            y_log=name != "test_accuracy",
        )
        for title, name in names.items()
    )
    return Figure(
        "training",
        "What the place costs",
        "How well the network learns, and how far one step moves what a layer gets, in both "
        "places.",
        panels,
        columns=2,
        share_y=False,
        notes=(
            "shift: Wasserstein distance of the same rows before and after a step, median unit",
        ),
    )
