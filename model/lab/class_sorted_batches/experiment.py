"""Batches sorted by class: what batch norm learns of them, and whether renorm repairs it."""

from collections.abc import Iterator
from math import nan
from statistics import fmean

from model.figures.charts import Bars, BarSeries, Curves, Figure, Role
from model.lab import factors
from model.lab.arms import by_seed, ended_early, sentence
from model.lab.bands import over_seeds
from model.lab.class_sorted_batches.modes import NAMES, AllModes, look, of_modes
from model.lab.class_sorted_batches.plan import ARMS, COMPANY, SortedParams, arm_name, plan
from model.lab.compare import Of, paired
from model.lab.experiment import Experiment
from model.lab.pair import proofs
from model.lab.report import Report, Table
from model.lab.results import Results, Series
from model.lab.single import beyond
from model.lab.verdict import Declared, Effect, judge

MARGIN = 2.0  # points of accuracy that count as no effect
WIDE, NARROW = 5.0, 2.0  # points between the modes: a gap, and none

BATCH, RENORM, LAYER, SOUND_BATCH, SOUND_RENORM = (arm_name(*arm) for arm in ARMS)
ROLES: dict[str, Role] = {
    BATCH: "batch",
    RENORM: "other",
    LAYER: "third",
    SOUND_BATCH: "fourth",
    SOUND_RENORM: "fifth",
}
DECLARED = Declared(
    f"test accuracy in eval mode, {COMPANY['class_sorted']}: batch renorm - batch",
    "points",
    "difference",
    "above",
    MARGIN,
)

CAVEATS = (
    "Published is Inception-v3 on ImageNet with batches of 16 classes, 2 images each: 67.0 % in "
    "eval mode with batch norm, where it has 72.8 % on the batches that it trains on, and 78.5 % "
    "with renorm. Here a batch is of one class or two, which is harsher.",
    "A norm of each row alone does not care for its company: layer norm shows what gradient "
    "descent itself makes of such an order.",
    "Accuracy in training mode is that of the saved network on further batches, composed as the "
    "run's own: of test rows as well, on which nothing was learned by heart.",
)
DIVERGED_IS = "counted as nothing right, and as no gap between modes"


def report(params: SortedParams, results: Results) -> Report:
    """Both modes of every arm, and what renorm gains in the one that serves."""
    modes = look(results)
    proven = (
        *proofs(results, BATCH, (RENORM, LAYER, SOUND_BATCH)),
        *proofs(results, RENORM, (SOUND_RENORM,)),
    )
    effect = _against(results, of_modes(modes, "eval_test"), DECLARED, RENORM, BATCH)
    return Report(
        effect=effect,
        summary=_summary(results, modes, effect),
        tables=_tables(results, modes),
        figures=_figures(results, modes) if any(run.counts for run in results.runs) else (),
        caveats=(*CAVEATS, *ended_early(results, DIVERGED_IS), *_unequal(proven)),
        factors=proven,
        others=tuple(_others(results, modes)),
    )


def _against(results: Results, of: Of, declared: Declared, first: str, second: str) -> Effect:
    return judge(declared, paired(results, declared, first, second, of))


def _others(results: Results, modes: AllModes) -> Iterator[Effect]:
    gap, accuracy = of_modes(modes, "gap_train"), of_modes(modes, "eval_test")
    wide = f"training mode - eval mode on training rows, {BATCH}"
    declared = Declared(wide, "points", "difference", "above", WIDE)
    yield judge(declared, beyond(results, BATCH, gap))
    narrow = f"training mode - eval mode on training rows, {RENORM}: above {NARROW:g} points"
    declared = Declared(narrow, "points", "difference", "below", 0.0)
    yield judge(declared, beyond(results, RENORM, gap, NARROW))
    for norm, first, second in (("batch", BATCH, SOUND_BATCH), ("renorm", RENORM, SOUND_RENORM)):
        name = f"test accuracy in eval mode with {norm}: sorted by class - shuffled"
        declared = Declared(name, "points", "difference", "below", MARGIN)
        yield _against(results, accuracy, declared, first, second)
    name = f"test accuracy in eval mode, {COMPANY['class_sorted']}: batch - layer"
    declared = Declared(name, "points", "difference", "below", MARGIN)
    yield _against(results, accuracy, declared, BATCH, LAYER)


def _tables(results: Results, modes: AllModes) -> tuple[Table, ...]:
    return tuple(
        by_seed(
            name.replace("_", "-"),
            f"accuracy in {told}, percent",
            results,
            {arm: (arm, of_modes(modes, name)) for arm in ROLES},
        )
        for name, told in NAMES.items()
    )


def _figures(results: Results, modes: AllModes) -> tuple[Figure, ...]:
    bars = Figure(
        "modes",
        "Accuracy in training mode and in eval mode",
        "From batches sorted by class batch norm learns what holds in such batches alone; with "
        "renorm both modes agree.",
        (_modes(results, modes, "train"), _modes(results, modes, "test")),
        columns=1,
    )
    curves = Figure(
        "accuracy",
        "Test accuracy in eval mode while training",
        "Renorm leaves batch norm behind once its bounds have grown.",
        (_curves(results),),
    )
    return bars, curves


def _modes(results: Results, modes: AllModes, rows: str) -> Bars:
    series = (
        _bars(results, of_modes(modes, f"training_{rows}"), "training mode", "none"),
        _bars(results, of_modes(modes, f"eval_{rows}"), "eval mode", "batch"),
    )
    title = {"train": "training rows", "test": "test rows"}[rows]
    return Bars(title, "accuracy, percent", tuple(ROLES), series)


def _bars(results: Results, of: Of, label: str, role: Role) -> BarSeries:
    found = [[of(run).value for run in results.of(arm)] for arm in ROLES]
    seeds = tuple([value for value in values if value is not None] for values in found)
    means = [fmean(values) if values else nan for values in seeds]
    return BarSeries(label, means, role, seeds=seeds)


def _curves(results: Results) -> Curves:
    curves = []
    for arm, role in ROLES.items():
        found = [run.series.get("test_accuracy", Series((), ())) for run in results.of(arm)]
        percent = [Series(one.steps, tuple(100 * value for value in one.values)) for one in found]
        curves += [over_seeds(percent, arm, role)] if percent else []
    return Curves("", "optimizer steps", "test accuracy, percent", tuple(curves))


def _unequal(proven: tuple[dict[str, object], ...]) -> tuple[str, ...]:
    """What compared arms do not share, beyond the order that they are compared for."""
    meant = [proof for proof in proven if proof["differ_in"] != ["sampling"]]
    return factors.caveats(meant)


def _summary(results: Results, modes: AllModes, effect: Effect) -> str:
    told = [
        f"{_mean(results, of_modes(modes, 'training_train'), arm)} in training mode and "
        f"{_mean(results, of_modes(modes, 'eval_train'), arm)} in eval mode with {norm}"
        for norm, arm in (("batch norm", BATCH), ("renorm", RENORM))
    ]
    return (
        f"On training rows in batches sorted by class the mean accuracy was {'; '.join(told)}. "
        f"{sentence(effect)}"
    )


def _mean(results: Results, of: Of, arm: str) -> str:
    values = [one.value for one in map(of, results.of(arm)) if one.value is not None]
    return f"{fmean(values):.1f} %" if values else "unknown"


EXPERIMENT = Experiment(
    kind="class_sorted_batches",
    claim="Trained on batches sorted by class, a network with batch renorm is better in eval mode "
    "than one with batch norm.",
    source="Ioffe 2017, section 4.3, https://arxiv.org/abs/1702.03275; Wu and Johnson 2021, "
    "section 6, https://arxiv.org/abs/2105.07576",
    params=SortedParams,
    declared=DECLARED,
    default_seconds=30,
    plan=plan,
    report=report,
)
