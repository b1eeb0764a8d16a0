"""Statistics of the rows at hand against those of training, when the inputs have shifted."""

from collections.abc import Iterator
from math import isinf
from statistics import fmean

from model.figures.charts import Bars, BarSeries, Figure, Map, Role
from model.lab.arms import by_seed, ended_early, sentence
from model.lab.experiment import Experiment
from model.lab.report import Cell, Report, Table
from model.lab.results import Results
from model.lab.single import beyond
from model.lab.test_time_adaptation.claims import (
    MIXTURE,
    PRIMARY,
    Number,
    claims,
    gain,
    mixtures,
)
from model.lab.test_time_adaptation.corruptions import SIZES, Corruption
from model.lab.test_time_adaptation.looks import WEIGHTS, AllLooks, look, of_looks
from model.lab.test_time_adaptation.looks import Map as Cells
from model.lab.test_time_adaptation.plan import ARM, AdaptationParams, plan
from model.lab.verdict import Declared, Effect, judge

CAVEATS = (
    "Published are ResNets on ImageNet-C: a mean corruption error of 76.7 with the source's "
    "statistics, 65.0 with mixtures of 8 rows and 62.2 with those of all; 40.8 to 33.1 % error "
    "under a loss of contrast, 64.4 to 52.5 % under noise.",
    "Contrast and offset treat all rows alike and each feature linearly: behind a linear layer "
    "the statistics of many target rows undo them entirely. Noise and blur they cannot undo.",
    "Target rows are the test rows themselves, without their labels, as in the papers. How well "
    "the statistics of one batch do on the next one was not looked at.",
)
DIVERGED_IS = "in no number, for there is nothing to adapt"


def report(params: AdaptationParams, results: Results) -> Report:
    """Which statistics answer corrupted rows best, by how many rows there are."""
    looks = look(params, results)
    effect = _judged(results, looks, PRIMARY, gain)
    return Report(
        effect=effect,
        summary=_summary(looks, effect),
        tables=_tables(results, looks) if looks else (),
        figures=_figures(params, looks) if looks else (),
        caveats=(*CAVEATS, *_left_out(params, looks), *ended_early(results, DIVERGED_IS)),
        others=(judge(MIXTURE, mixtures(looks)), *_others(results, looks)),
    )


def _judged(results: Results, looks: AllLooks, declared: Declared, number: Number) -> Effect:
    return judge(declared, beyond(results, ARM, of_looks(looks, number)))


def _others(results: Results, looks: AllLooks) -> Iterator[Effect]:
    for declared, number in claims():
        yield _judged(results, looks, declared, number)


def _tables(results: Results, looks: AllLooks) -> tuple[Table, ...]:
    numbers: dict[str, Number] = {
        "accuracy, percent, source": lambda one: one.mean("source", "accuracy"),
        "accuracy, percent, all target rows": lambda one: one.mean("target", "accuracy"),
        "expected calibration error, source": lambda one: one.mean("source", "ece"),
        "expected calibration error, all target rows": lambda one: one.mean("target", "ece"),
        "Brier score, source": lambda one: one.mean("source", "brier"),
        "Brier score, all target rows": lambda one: one.mean("target", "brier"),
        "accuracy, percent, chunks of 32, shuffled": lambda one: one.mixed_classes,
        "accuracy, percent, chunks of 32, sorted by class": lambda one: one.one_class,
    }
    rows = {name: (ARM, of_looks(looks, number)) for name, number in numbers.items()}
    title = "corrupted rows, mean over all corruptions and severities"
    note = "Chunks of 32 are of the rows of the map, each by its own statistics alone."
    return by_seed("scores", title, results, rows, note), _shifts(looks), _few(looks)


def _shifts(looks: AllLooks) -> Table:
    """Every corruption and severity, averaged over seeds; sizes as they are in the formulas."""
    rows = []
    for kind, severity in _common(looks):
        found = [one.shifts[kind, severity] for one in looks.values()]
        source, target = ([getattr(one, side) for one in found] for side in ("source", "target"))
        scores = [
            fmean(getattr(one, name) for one in side)
            for name in ("accuracy", "ece", "brier")
            for side in (source, target)
        ]
        rows.append((kind, severity, SIZES[kind][severity - 1], *scores))
    sides = ("source", "target")
    names = ("accuracy, percent", "calibration error", "Brier score")
    columns = ("corruption", "severity", "c", *(f"{n}, {s}" for n in names for s in sides))
    title = "scores by corruption, mean over seeds"
    return Table("corruptions", title, columns, tuple(rows), "Target: statistics of all test rows.")


def _few(looks: AllLooks) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (_weight(N), *(one.few(N) for one in looks.values())) for N in WEIGHTS
    ]
    columns = ("N", *(f"seed {seed}" for seed in looks))
    title = "accuracy, percent, with the statistics of 8 rows, mean over all corruptions"
    return Table("few-rows", title, columns, tuple(rows))


def _figures(params: AdaptationParams, looks: AllLooks) -> tuple[Figure, ...]:
    kinds = {one.corruption for one in looks.values()}
    shifted = f"{' and '.join(sorted(kinds))}, severity {params.severity}"
    maps = Figure(
        "weights",
        "Accuracy by the rows at hand and the weight of the source",
        "A few rows alone harm, many can stand alone, and in between a mixture is best; clean "
        "rows gain nothing.",
        (
            _map("clean rows", [one.clean for one in looks.values()]),
            _map(shifted, [one.shifted for one in looks.values()]),
        ),
        columns=2,
        notes=(
            f"Each cell is the mean of {len(looks)} seeds. The source counts as N rows; N = inf is "
            "no adaptation.",
        ),
    )
    bars = Figure(
        "corruptions",
        "Accuracy on corrupted rows, mean over five severities",
        "Statistics of the corrupted rows, without any label, bring accuracy back.",
        (_bars(looks),),
    )
    return maps, bars


def _map(title: str, found: list[Cells]) -> Map:
    """Means over seeds: a row for every N, the source's alone on top; a column for every n."""
    sizes = sorted({size for cells in found for size, _ in cells})
    weights = WEIGHTS[::-1]
    values = tuple(
        tuple(fmean(cells[size, N] for cells in found if (size, N) in cells) for size in sizes)
        for N in weights
    )
    return Map(
        title=title,
        x_label="n, rows of a chunk",
        y_label="N, weight of the source",
        values=values,
        colour_label="accuracy, percent",
        x_ticks=tuple(map(str, sizes)),
        y_ticks=tuple(map(_weight, weights)),
        texts=tuple(tuple(f"{value:.0f}" for value in row) for row in values),
        range=(0.0, 100.0),
    )


def _bars(looks: AllLooks) -> Bars:
    kinds = tuple(dict.fromkeys(kind for kind, _ in _common(looks)))

    def series(label: str, side: str, role: Role) -> BarSeries:
        seeds = tuple(
            [one.mean(side, "accuracy", kind) for one in looks.values()] for kind in kinds
        )
        return BarSeries(label, [fmean(values) for values in seeds], role, seeds=seeds)

    source = series("statistics of the source", "source", "none")
    target = series("of all target rows", "target", "batch")
    return Bars("", "accuracy, percent", kinds, (source, target))


def _common(looks: AllLooks) -> list[tuple[Corruption, int]]:
    """The corruptions and severities of all runs, which have the same kind of rows."""
    return list(next(iter(looks.values())).shifts)


def _left_out(params: AdaptationParams, looks: AllLooks) -> Iterator[str]:
    if looks and "blur" not in {kind for kind, _ in _common(looks)}:
        yield "Blur was left out: the rows are no images, nor is their length a square."
        if params.corruption == "blur":
            yield "The map is about contrast instead."


def _summary(looks: AllLooks, effect: Effect) -> str:
    if not looks:
        return "There is no run whose network could be adapted."
    source, target = (
        fmean(one.mean(side, "accuracy") for one in looks.values()) for side in ("source", "target")
    )
    return (
        f"On corrupted rows, averaged over all corruptions and severities, {source:.1f} % were "
        f"right with the statistics of training and {target:.1f} % with those of the corrupted "
        f"rows themselves. {sentence(effect)}"
    )


def _weight(source_rows: float) -> str:
    return "inf" if isinf(source_rows) else f"{source_rows:g}"


EXPERIMENT = Experiment(
    kind="test_time_adaptation",
    claim="On corrupted rows, the statistics of those rows answer better than those of training, "
    "without a label and without a changed weight.",
    source="Schneider et al. 2020, https://arxiv.org/abs/2006.16971; Nado et al. 2020, "
    "https://arxiv.org/abs/2006.10963; Li et al. 2016, https://arxiv.org/abs/1603.04779",
    params=AdaptationParams,
    declared=PRIMARY,
    default_seconds=15,
    plan=plan,
    report=report,
)
