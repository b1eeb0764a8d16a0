"""Ioffe and Szegedy's first experiment: three sigmoid layers with and without batch norm."""

from collections.abc import Iterator
from statistics import fmean
from typing import Any

from model.figures.charts import Figure
from model.figures.text import percent
from model.lab import factors
from model.lab.arms import POINTS, by_seed, ended_early, in_points, sentence
from model.lab.compare import Of, Outcome, last, paired, steps_to
from model.lab.drift import drift
from model.lab.experiment import Experiment
from model.lab.guessing import guessing
from model.lab.ioffe_mnist import figures
from model.lab.ioffe_mnist.inputs import median, width
from model.lab.ioffe_mnist.plan import ARMS, IoffeParams, Setting, arm_name, plan
from model.lab.pair import proofs
from model.lab.report import Report, Table
from model.lab.results import Results, RunResult
from model.lab.verdict import Declared, Effect, OfSeed, judge

FASTER = 3.0  # times fewer steps: fewer than that would count as no effect
FINAL_POINTS = 0.3  # of test accuracy at the end that count as equal
ABOVE_CHANCE = 5.0  # points of accuracy above guessing that still count as guessing
SETTLED = 500  # steps after which drift is looked at, in the published length
SETTLED_SHARE = 0.02  # of a shorter run

CAVEATS = (
    "The paper names neither the deviation of its initial weights nor its learning rate, and shows "
    "one run without a seed: what can be compared is which arm is ahead and by what factor.",
    "Figure 1 (b) and (c) show one unit. The drift of all units is what is judged here.",
)
SMALL = (
    "On a small dataset the accuracy at the end says little: a network without norm and with a "
    "well-chosen rate ends nearly as high. What holds is the speed, and how little it hangs on the "
    "start and on the rate."
)
DIVERGED_IS = "counted as the worst outcome, in drift as far as it was seen to go"


def report(params: IoffeParams, results: Results) -> Report:
    """How many steps each arm needs, how its inputs drift, and what a small start does."""
    first = params.settings[0]
    effect, *others = (_steps(params, results, one) for one in params.settings)
    small = _smallest(params)
    drifts = _drifts(params)
    proven = tuple(_proofs(params, results))
    return Report(
        effect=effect,
        summary=_summary(params, results, effect),
        tables=_tables(params, results, drifts),
        figures=tuple(_figures(params, results, drifts)),
        caveats=(*_caveats(params, results), *factors.caveats(proven)),
        factors=proven,
        others=(
            *others,
            *(_drift(results, first, name, of) for name, of in drifts.items()),
            _final(results, first),
            *([_at_chance(results, small)] if small else []),
        ),
    )


def _declared(params: IoffeParams, setting: Setting) -> Declared:
    name = f"steps to {params.target_text} test accuracy, {setting.name}: batch / none"
    return Declared(name, "", "ratio", "below", FASTER)


def _steps(params: IoffeParams, results: Results, setting: Setting) -> Effect:
    declared = _declared(params, setting)
    return judge(declared, _compared(results, declared, setting, _steps_of(params)))


def _steps_of(params: IoffeParams) -> Of:
    return steps_to("test_accuracy", params.target, params.num_steps)


def _drift(results: Results, setting: Setting, name: str, of: Of) -> Effect:
    told = f"drift of the {name} of a sigmoid's input, {setting.name}: batch / none"
    declared = Declared(told, "", "ratio", "below", 1.0)
    return judge(declared, _compared(results, declared, setting, of))


def _final(results: Results, setting: Setting) -> Effect:
    told = f"test accuracy at the end, {setting.name}: batch - none"
    declared = Declared(told, "points", "difference", "above", FINAL_POINTS)
    return judge(declared, _compared(results, declared, setting, _accuracy()))


def _at_chance(results: Results, setting: Setting) -> Effect:
    """Whether a network without norm that starts small ever does more than guess."""
    name = (
        f"highest test accuracy without norm, {setting.name}: less that of guessing and "
        f"{ABOVE_CHANCE:g} points"
    )
    declared = Declared(name, "points", "difference", "below", 0.0)
    runs = results.of(arm_name("none", setting))
    return judge(declared, [_above_chance(results, run) for run in runs])


def _above_chance(results: Results, run: RunResult) -> OfSeed:
    guess, found = guessing(results, run), run.series.get("test_accuracy")
    if guess is None or found is None:
        return OfSeed(run.seed, None, f"{run.arm} has no test_accuracy")
    note = f"guessing the most frequent class: {percent(guess, 1)}"
    return OfSeed(run.seed, POINTS * (max(found.values) - guess) - ABOVE_CHANCE, note)


def _compared(results: Results, declared: Declared, setting: Setting, of: Of) -> list[OfSeed]:
    return paired(results, declared, arm_name("batch", setting), arm_name("none", setting), of)


def _accuracy() -> Of:
    return in_points(last("test_accuracy", worst=0.0))


def _drifts(params: IoffeParams) -> dict[str, Of]:
    first = min(SETTLED, int(SETTLED_SHARE * params.num_steps))
    return {"median": drift(median, first), "width": drift(width, first)}


def _smallest(params: IoffeParams) -> Setting | None:
    """The setting that starts smallest, where it starts smaller than the first."""
    found = min(params.settings, key=lambda one: (one.sigma, one.lr))
    return found if found.sigma < params.settings[0].sigma else None


def _tables(params: IoffeParams, results: Results, drifts: dict[str, Of]) -> tuple[Table, ...]:
    asked = {
        "steps": (f"optimizer steps to {params.target_text} test accuracy", _steps_of(params)),
        "accuracy": ("test accuracy at the end, percent", _accuracy()),
    } | {
        f"drift-{name}": (f"drift of the {name}: mean over units of its deviation over time", of)
        for name, of in drifts.items()
    }
    arms = [arm_name(arm, one) for one in params.settings for arm in ARMS]
    return tuple(
        by_seed(name, title, results, {arm: (arm, of) for arm in arms})
        for name, (title, of) in asked.items()
    )


def _figures(params: IoffeParams, results: Results, drifts: dict[str, Of]) -> Iterator[Figure]:
    if not any(run.counts for run in results.runs):
        return
    yield figures.accuracy(params, results)
    shown = figures.percentiles(params, results)
    if shown is not None:
        yield shown
        yield figures.drifts(params, results, drifts)


def _caveats(params: IoffeParams, results: Results) -> Iterator[str]:
    yield from CAVEATS
    yield (
        f"Accuracy is looked at every {params.resolution} steps, so that steps are counted too "
        "high by up to that: the fewer of an arm, the more it loses by it."
    )
    if params.scale == "default":
        yield SMALL
    yield from ended_early(results, DIVERGED_IS)


def _proofs(params: IoffeParams, results: Results) -> Iterator[dict[str, Any]]:
    for one in params.settings:
        yield from proofs(results, arm_name("none", one), [arm_name("batch", one)])


def _summary(params: IoffeParams, results: Results, effect: Effect) -> str:
    first = params.settings[0]
    told = [
        f"{_mean(_steps_of(params), results.of(arm_name(arm, first)))} with {arm}" for arm in ARMS
    ]
    return (
        f"{params.target_text} test accuracy took, on average over seeds, {' and '.join(told)} "
        f"({first.name}). {sentence(effect)}"
    )


def _mean(of: Of, runs: tuple[RunResult, ...]) -> str:
    found: list[Outcome] = [of(run) for run in runs]
    values = [one.value for one in found if one.value is not None]
    if not values:
        return "an unknown number of steps"
    bound = "at least " if any(one.bound for one in found) else ""
    return f"{bound}{fmean(values):,.0f} steps"


EXPERIMENT = Experiment(
    kind="ioffe_mnist",
    claim="Batch norm reaches the same test accuracy in at most a third of the steps.",
    source="Ioffe and Szegedy 2015, section 4.1 and figure 1, https://arxiv.org/abs/1502.03167",
    params=IoffeParams,
    declared=_declared(IoffeParams(), IoffeParams().settings[0]),
    default_seconds=55,
    plan=plan,
    report=report,
)
