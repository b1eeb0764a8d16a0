"""Losses and shifts of inputs over training, all norms beside each other."""

from model.figures.charts import Curves, Figure, Role
from model.lab.bands import band, over_seeds
from model.lab.lp_norms.arms import INPUT_LAYER, NORMS, Params, Setting
from model.lab.lp_norms.losses import is_sum, ranks_of
from model.lab.rank_levels import guides
from model.lab.results import Results, RunResult, Series

ROLES: dict[str, Role] = {
    "none": "none",
    "batch": "batch",
    "l1": "noisy",
    "l2": "other",
    "linf": "third",
}
SEEDS = "lines: median over seeds; bands: lowest to highest"


def draw(params: Params, results: Results) -> tuple[Figure, ...]:
    """A figure of losses for each network, and one of shifts."""
    found: list[Figure] = []
    for network in params.networks:
        mine = [one for one in params.settings if one.network == network]
        there = [one for one in mine if any(results.of(one.arm(norm)) for norm in NORMS)]
        if there:
            found += [_losses(there, results), _shifts(there, results)]
    return tuple(found)


def _losses(settings: list[Setting], results: Results) -> Figure:
    network = settings[0].network
    lingers = "levels of low rank are saddles, near which training lingers"
    return Figure(
        f"loss-{network.replace('_', '-')}",
        f"Training loss with five norms: {settings[0].title.partition(',')[0]}",
        "Norms that divide by another l_p norm train about as well as batch norm, and l_1 better.",
        tuple(_loss_panel(one, results) for one in settings),
        columns=len(settings),
        notes=(SEEDS, *([lingers] if is_sum(settings[0]) else [])),
    )


def _loss_panel(setting: Setting, results: Results) -> Curves:
    ranks = ranks_of(setting, results)
    rows = 1 if ranks is None else ranks.rows
    curves = tuple(
        over_seeds([_scaled(run, rows) for run in runs], norm, ROLES[norm])
        for norm in NORMS
        if (runs := results.of(setting.arm(norm)))
    )
    return Curves(
        setting.title,
        "optimizer steps",
        "training loss" if ranks is None else "half the sum of squares",
        curves,
        y_log=True,
        guides=() if ranks is None else guides(ranks.levels, curves),
    )


def _shifts(settings: list[Setting], results: Results) -> Figure:
    network = settings[0].network
    layer = INPUT_LAYER[network]
    panels = tuple(
        Curves(
            one.title,
            "optimizer steps",
            "Wasserstein distance, SDs",
            tuple(
                band(runs, f"input_shift.wasserstein.{layer}", norm, ROLES[norm])
                for norm in NORMS
                if (runs := results.of(one.arm(norm)))
            ),
            y_log=True,
        )
        for one in settings
    )
    return Figure(
        f"shift-{network.replace('_', '-')}",
        f"Shift of the input of layer {layer} by one step",
        "Norms that train well need not make the inputs of layers shift less.",
        panels,
        columns=len(settings),
        notes=(SEEDS,),
    )


def _scaled(run: RunResult, factor: int) -> Series:
    found = run.series.get("train_loss", Series((), ()))
    return Series(found.steps, tuple(factor * value for value in found.values))
