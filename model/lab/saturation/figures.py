"""Figures of the experiment on saturation."""

from dataclasses import replace

from torch import Tensor

from model.figures.charts import Curves, Figure, Guide, Map, Ridges, Role
from model.lab.bands import over_seeds
from model.lab.results import Results, RunResult, Series
from model.lab.saturation.arms import NORMS, Params, arm_of
from model.lab.saturation.closed_form import EDGE, share_of_normal
from model.lab.saturation.looks import Look, Looks

TITLES = {"none": "without norm", "batch": "with batch norm"}
ROLES: tuple[Role, ...] = ("none", "batch", "other", "fourth")  # all features, then fewer
WHENS = ("start", "end")


def figures(params: Params, results: Results, looks: Looks) -> tuple[Figure, ...]:
    """Those for which there is anything to show."""
    found = (_maps(looks), _inputs(looks), *_over_time(params, results, looks))
    return tuple(figure for figure in found if figure is not None)


def _maps(looks: Looks) -> Figure | None:
    shown = _one_seed(looks)
    if not shown:
        return None
    panels = tuple(_map(one) for one in shown)
    return Figure(
        "map",
        "Which values are saturated, row by row and unit by unit",
        "Without norm most values of most units are saturated, and hardly any with batch norm; "
        "hardly a column is white from top to bottom.",
        panels,
        columns=2,
        notes=(f"seed {shown[0].seed}; white: |tanh| > .99",),
    )


def _map(one: Look) -> Map:
    moves: Tensor = 1 - one.map
    return Map(
        title=f"{TITLES[one.arm]}, step {one.step:,}",
        x_label="unit",
        y_label="row",
        values=tuple(tuple(row) for row in moves.tolist()),
        colour_label="",
        classes=("saturated", "moves"),
    )


def _inputs(looks: Looks) -> Figure | None:
    panels = tuple(
        _ridges(norm, found)
        for norm in NORMS
        if (found := [one for one in _one_seed(looks) if one.arm == norm])
    )
    if not panels:
        return None
    return Figure(
        "inputs",
        "What enters the tanh",
        "Without norm the inputs of the tanh reach far into its flat ends; with batch norm they "
        "stay between them.",
        panels,
        columns=2,
        share_x=False,
        share_y=False,
        notes=("the two panels have scales of their own",),
    )


def _ridges(norm: str, found: list[Look]) -> Ridges:
    edges = [one.inputs.edges for one in found]
    low, high = min(float(one[0]) for one in edges), max(float(one[-1]) for one in edges)
    bands = ((min(low, -EDGE), -EDGE), (EDGE, max(high, EDGE)))
    return Ridges(
        title=TITLES[norm],
        x_label="input of the tanh",
        labels=tuple(f"step {one.step:,}" for one in found),
        edges=tuple(tuple(one.tolist()) for one in edges),
        densities=tuple(tuple(one.inputs.density.tolist()) for one in found),
        shaded=bands,
        role="none" if norm == "none" else "batch",
        shaded_label="|tanh| > .99",
    )


def _over_time(params: Params, results: Results, looks: Looks) -> list[Figure | None]:
    saturated = _curves(params, results, "saturated", "saturated values, %")
    dead = _curves(params, results, "dead_units", "dead units, %")
    if not saturated.curves:
        return []
    guided = [_guide(one.fan_in) for one in looks if one.arm == arm_of("none", None)][:1]
    normalized = Guide(100 * share_of_normal(1.0), "closed form, normalized")
    panel = replace(saturated, guides=(*guided, normalized))
    whole = Figure(
        "over-time",
        "Saturated values and dead units over training",
        "How many values are saturated and how many units are dead are two things: where nearly "
        "all values are saturated, units can be alive.",
        (panel, dead),
        columns=2,
    )
    return [whole]


def _guide(fan_in: int) -> Guide:
    return Guide(100 * share_of_normal(fan_in**0.5), f"closed form, fan-in {fan_in}")


def _curves(params: Params, results: Results, what: str, label: str) -> Curves:
    arms = [arm_of(norm, fan_in) for fan_in in params.fan_ins for norm in NORMS]
    curves = [
        over_seeds([_percent(run, f"saturation.{what}.1") for run in runs], arm, role)
        for arm, role in zip(arms, ROLES, strict=False)
        if (runs := results.of(arm))
    ]
    title = label.partition(",")[0]
    return Curves(title, "optimizer steps", label, tuple(curves), y_range=(0.0, 100.0))


def _percent(run: RunResult, name: str) -> Series:
    found = run.series.get(name, Series((), ()))
    return Series(found.steps, tuple(100 * value for value in found.values))


def _one_seed(looks: Looks) -> list[Look]:
    """Both arms with all features on the first seed that has both, start before end."""
    for seed in sorted({one.seed for one in looks}):
        found = [one for one in looks if one.seed == seed and one.arm in NORMS]
        if {one.arm for one in found} == set(NORMS):
            return sorted(found, key=lambda one: (WHENS.index(one.when), NORMS.index(one.arm)))
    return []
