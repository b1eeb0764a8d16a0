"""The three parts of figure 1, and the drift of all units beside that of one."""

from collections.abc import Sequence
from math import nan
from statistics import fmean

from model.figures.charts import Bars, BarSeries, Curve, Curves, Figure, Guide, Role
from model.lab.bands import band
from model.lab.compare import Of
from model.lab.ioffe_mnist import inputs
from model.lab.ioffe_mnist.inputs import LEVELS
from model.lab.ioffe_mnist.plan import ARMS, Arm, IoffeParams, Setting, arm_name
from model.lab.results import Results, RunResult

ROLES: dict[Arm, Role] = {"none": "none", "batch": "batch"}
LABELS = {"p15": "percentile 15", "p50": "median", "p85": "percentile 85"}
UNIT = 0  # that is drawn: any one, chosen before anything was trained


def accuracy(params: IoffeParams, results: Results) -> Figure:
    """Figure 1 (a): test accuracy while training, a panel for each setting."""
    panels = tuple(_accuracy(params, results, setting) for setting in params.settings)
    evidence = "The claim: with batch norm the network trains faster, whatever its start and rate."
    title = "Test accuracy while training"
    return Figure("accuracy", title, evidence, panels, columns=min(3, len(panels)))


def percentiles(params: IoffeParams, results: Results) -> Figure | None:
    """Figure 1 (b) and (c): what enters one sigmoid; None where no run can show it."""
    setting = params.settings[0]
    first = {arm: results.of(arm_name(arm, setting))[:1] for arm in ARMS}
    panels = tuple(
        _percentiles(arm, run) for arm in ARMS for run in first[arm] if inputs.percentiles(run)
    )
    if not panels:
        return None
    return Figure(
        "percentiles",
        f"Input of one sigmoid, {setting.name}",
        "The claim: with batch norm the distribution that enters a unit is more stable.",
        panels,
        columns=len(panels),
        notes=(
            f"Unit {UNIT + 1} of the last hidden layer in the first seed, chosen beforehand; "
            "the figure of drift has all units. Behind batch norm the input is taken after gain "
            "and bias, in training mode on fixed training rows.",
        ),
    )


def drifts(params: IoffeParams, results: Results, of: dict[str, Of]) -> Figure:
    """How far all units wander, in every setting.

    Args:
        of: what is asked of a run, by what it is called.
    """
    panels = tuple(_drift(params, results, name, one) for name, one in of.items())
    return Figure(
        "drift",
        "How far the input of a sigmoid wanders while the network trains",
        "The claim for all units of the last hidden layer, not one: bars are means over them, dots "
        "are seeds.",
        panels,
        columns=len(panels),
        share_y=False,
        notes=("A network that stays at chance may not drift at all: its units hardly see rows.",),
    )


def _accuracy(params: IoffeParams, results: Results, setting: Setting) -> Curves:
    runs = {arm: results.of(arm_name(arm, setting)) for arm in ARMS}
    curves = [band(runs[arm], "test_accuracy", arm, ROLES[arm]) for arm in ARMS if runs[arm]]
    return Curves(
        setting.name,
        "optimizer steps",
        "test accuracy",
        tuple(curves),
        guides=(Guide(params.target, params.target_text),),
        y_range=(0.0, 1.0),
    )


def _percentiles(arm: Arm, run: RunResult) -> Curves:
    found = inputs.percentiles(run)
    steps = [step for step, _ in found]
    curves = (
        Curve(
            label=LABELS[level],
            x=steps,
            y=[levels[level][UNIT] for _, levels in found],
            role=ROLES[arm],
            style="line" if level == "p50" else "dashed",
        )
        for level in LEVELS
    )
    return Curves(arm, "optimizer steps", "input of the sigmoid", tuple(curves))


def _drift(params: IoffeParams, results: Results, name: str, of: Of) -> Bars:
    series = tuple(_bars(params.settings, results, arm, of) for arm in ARMS)
    groups = tuple(setting.name for setting in params.settings)
    return Bars(name, "standard deviation over time", groups, series)


def _bars(settings: Sequence[Setting], results: Results, arm: Arm, of: Of) -> BarSeries:
    runs = [results.of(arm_name(arm, setting)) for setting in settings]
    seeds = tuple([v for v in (of(run).value for run in one) if v is not None] for one in runs)
    means = [fmean(values) if values else nan for values in seeds]
    return BarSeries(arm, means, ROLES[arm], seeds=seeds)
