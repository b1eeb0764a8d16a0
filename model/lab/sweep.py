"""A sweep: every combination of the values of up to three fields, on every seed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import nan, prod
from statistics import fmean
from typing import Annotated, Any

from pydantic import AfterValidator, Field, Strict

from model.errors import SpecRefused
from model.figures.charts import Bars, BarSeries, Figure, Map, Panel
from model.lab import factors
from model.lab.compare import Of, Outcome, compared
from model.lab.experiment import MOST_RUNS, Experiment, PlannedRun
from model.lab.fields import PLANNED, FieldName, text_of, varied
from model.lab.metric import (
    MetricParams,
    diverged_caveats,
    missing_caveats,
    number_of,
    numbers,
)
from model.lab.report import Report, Table
from model.lab.results import Results, RunResult
from model.lab.verdict import Declared, Effect, OfSeed, judge
from model.spec.parts import at_most

MOST_FIELDS = 3
MOST_VALUES = 32
MOST_PROVEN = 16  # cells whose start is compared with the first one's


def _can_be_swept(fields: dict[str, Any]) -> dict[str, Any]:
    wrong = [field for field in fields if field.partition(".")[0] in (*PLANNED, "labels")]
    if wrong:
        raise ValueError("the seed, the name and the labels are no factor")
    for field in fields:
        if any(other.startswith(f"{field}.") for other in fields):
            raise ValueError("a field and a part of it cannot both be swept")
    return fields


Values = Annotated[
    tuple[Any, ...], Strict(False), at_most(MOST_VALUES), Field(min_length=2, max_length=32)
]


class SweepParams(MetricParams):
    """What is varied, and by which metric the cells of the grid are judged."""

    fields: Annotated[dict[FieldName, Values], AfterValidator(_can_be_swept)] = Field(
        {"optimizer.lr": (0.01, 0.1, 1.0), "norm": ("none", "batch")},
        min_length=1,
        max_length=MOST_FIELDS,
        description="Values by dotted field of the spec: the grid has one cell for every "
        "combination. The first field runs along x, the second along y, the third over panels.",
    )
    margin: float = Field(
        0.01, ge=0, le=1e12, description="Differences within +-margin count as no effect."
    )


Cell = tuple[int, ...]  # the place of each field's value
BySeed = Mapping[int, Mapping[str, Outcome]]  # what the cells of each seed come to, by their name


def plan(params: SweepParams, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """The whole grid of a seed, then that of the next.

    Raises:
        SpecRefused: too many runs, a cell that is no spec, or two values that are equal.
    """
    runs = prod(len(values) for values in params.fields.values()) * len(seeds)
    if runs > MOST_RUNS:
        message = f"that makes {runs} runs; an experiment has at most {MOST_RUNS}"
        raise SpecRefused("fields", message, runs=runs, limit=MOST_RUNS)
    _refuse_equal(params)
    named = {field: f"fields.{field}" for field in params.fields}
    specs = {
        arm: varied(params.base, _values(params, cell), named)
        for cell, arm in arms_of(params).items()
    }
    return tuple(
        PlannedRun(arm, seed, spec.model_copy(update={"seed": seed}))
        for seed in seeds
        for arm, spec in specs.items()
    )


def report(params: SweepParams, results: Results) -> Report:
    """The grid as a table and a map, and how much its best cell is better than its worst."""
    of = number_of(params, results.runs)
    counted = [run for run in results.runs if run.counts]
    effect = _effect(params, results, of)
    proven = _proofs(params, results)
    return Report(
        effect=effect,
        summary=_summary(params, results, of, effect),
        tables=(_table(params, results, of),),
        figures=(_map(params, results, of),) if counted else (),
        caveats=(
            *missing_caveats(counted, params),
            *diverged_caveats(counted, params),
            *factors.caveats(proven),
            *_unproven(params),
        ),
        factors=proven,
    )


def arms_of(params: SweepParams) -> dict[Cell, str]:
    """The name of every cell, in the order of the grid: the last field runs fastest."""
    texts = _texts(params)
    places = product(*(range(len(values)) for values in params.fields.values()))
    return {
        cell: ", ".join(
            f"{_short(field, params)} {texts[field][place]}"
            for field, place in zip(params.fields, cell, strict=True)
        )
        for cell in places
    }


def _refuse_equal(params: SweepParams) -> None:
    for field, values in params.fields.items():
        for i, value in enumerate(values):
            if any(_same(value, other) for other in values[:i]):
                raise SpecRefused(f"fields.{field}.{i}", "the value is there twice")


def _same(one: Any, two: Any) -> bool:
    return one == two and isinstance(one, bool) == isinstance(two, bool)


def _values(params: SweepParams, cell: Cell) -> dict[str, Any]:
    pairs = zip(params.fields.items(), cell, strict=True)
    return {field: values[place] for (field, values), place in pairs}


def _texts(params: SweepParams) -> dict[str, list[str]]:
    """The values of each field in words, no two of them the same."""
    found: dict[str, list[str]] = {}
    for field, values in params.fields.items():
        texts = [text_of(value) for value in values]
        found[field] = [
            f"{text} #{i + 1}" if texts.count(text) > 1 else text for i, text in enumerate(texts)
        ]
    return found


def _short(field: str, params: SweepParams) -> str:
    """The last part of a field's name, if it says which one is meant."""
    last = field.rpartition(".")[2]
    others = [other.rpartition(".")[2] for other in params.fields if other != field]
    return field if last in others or last.isdecimal() else last


def _declared(params: SweepParams) -> Declared:
    how = "each chosen on the other seeds"
    name = f"{params.metric}: how much the best cell is better than the worst, {how}"
    return Declared(name, "", "difference", "above", params.margin)


def _effect(params: SweepParams, results: Results, of: Of) -> Effect:
    """Of each seed, the best cell against the worst, both chosen without that seed.

    Chosen on the same seed, the best of many equal cells would always seem better.
    """
    known = _by_seed(params, results, of)
    return judge(_declared(params), [_of_seed(seed, known, params) for seed in sorted(known)])


def _by_seed(params: SweepParams, results: Results, of: Of) -> BySeed:
    """Of each seed, what every cell comes to that comes to a number."""
    found: dict[int, dict[str, Outcome]] = {run.seed: {} for run in results.runs}
    for arm in arms_of(params).values():
        for run in results.of(arm):
            outcome = of(run)
            if outcome.value is not None:
                found[run.seed][arm] = outcome
    return found


def _of_seed(seed: int, known: BySeed, params: SweepParams) -> OfSeed:
    means = _means_without(seed, known)
    if len(means) < 2:
        return OfSeed(seed, None, "no other seed to choose the cells by")
    lowest, highest = (choose(means, key=lambda arm: means[arm]) for choose in (min, max))
    best, worst = (lowest, highest) if params.lower_is_better else (highest, lowest)
    higher, lower = (known[seed][arm] for arm in (highest, lowest))
    gain = compared(_declared(params), seed, higher, lower)
    told = f"best {best}; worst {worst}"
    return replace(gain, note=f"{told}; {gain.note}" if gain.note else told)


def _means_without(seed: int, known: BySeed) -> dict[str, float]:
    """Of each cell that this seed has, the mean over the other seeds."""
    means: dict[str, float] = {}
    for arm in known[seed]:
        cells = (cells.get(arm) for other, cells in known.items() if other != seed)
        values = [one.value for one in cells if one is not None and one.value is not None]
        if values:
            means[arm] = fmean(values)
    return means


def _summary(params: SweepParams, results: Results, of: Of, effect: Effect) -> str:
    means = {arm: numbers(of, results.of(arm)) for arm in arms_of(params).values()}
    known = {arm: fmean(values) for arm, values in means.items() if values}
    if not known:
        return f"No cell has a value of {params.metric}."
    order = sorted(known, key=lambda arm: known[arm], reverse=not params.lower_is_better)
    text = (
        f"Of {len(means)} cells, {order[0]} has the best {params.metric} ({known[order[0]]:.4g}, "
        f"mean over seeds) and {order[-1]} the worst ({known[order[-1]]:.4g})."
    )
    if effect.ci_low is None or effect.ci_high is None:
        return f"{text} One seed cannot both choose the cells and judge them."
    return (
        f"{text} Judged on seeds that they were not chosen on, the one is better by "
        f"{effect.value:.4g}, with a 95 % interval from {effect.ci_low:.4g} to "
        f"{effect.ci_high:.4g}."
    )


def _table(params: SweepParams, results: Results, of: Of) -> Table:
    rows = []
    for cell, arm in arms_of(params).items():
        runs = results.of(arm)
        values = numbers(of, runs)
        texts = _texts(params)
        places = zip(params.fields, cell, strict=True)
        told = [texts[field][place] for field, place in places]
        spread = (fmean(values), min(values), max(values)) if values else (None, None, None)
        rows.append((*told, *spread, len(values), sum(run.has_diverged for run in runs)))
    columns = (*params.fields, "mean", "lowest", "highest", "seeds", "diverged")
    return Table("grid", f"{params.metric}, {params.at} value", columns, tuple(rows))


def _map(params: SweepParams, results: Results, of: Of) -> Figure:
    means = {cell: _mean(results.of(arm), of) for cell, arm in arms_of(params).items()}
    evidence = "Every cell is the mean over seeds; an empty one has a run that diverged."
    title = f"{params.metric} over the grid"
    if len(params.fields) == 1:
        return Figure("grid", title, evidence, (_one_row(params, means),))
    thirds = _texts(params)[list(params.fields)[2]] if len(params.fields) == 3 else [""]
    finite = [value for value in means.values() if value == value]
    scale = (min(finite), max(finite)) if finite and min(finite) < max(finite) else None
    panels = tuple(_panel(params, means, i, text, scale) for i, text in enumerate(thirds))
    return Figure("grid", title, evidence, panels, columns=min(len(panels), 3))


def _mean(runs: Sequence[RunResult], of: Of) -> float:
    values = numbers(of, runs)
    return fmean(values) if values and not any(run.has_diverged for run in runs) else nan


def _one_row(params: SweepParams, means: Mapping[Cell, float]) -> Panel:
    (field,) = params.fields
    bars = BarSeries(params.metric, tuple(means.values()), "batch")
    groups = tuple(_texts(params)[field])
    return Bars(f"{params.metric} by {field}", params.metric, groups, (bars,))


def _panel(
    params: SweepParams,
    means: Mapping[Cell, float],
    third: int,
    text: str,
    scale: tuple[float, float] | None,
) -> Panel:
    x, y, *more = params.fields
    texts = _texts(params)
    rows = [
        [means[(i, j, *((third,) if more else ()))] for i in range(len(texts[x]))]
        for j in range(len(texts[y]))
    ]
    return Map(
        title=f"{more[0]} {text}" if more else params.metric,
        x_label=x,
        y_label=y,
        values=tuple(tuple(row) for row in rows),
        colour_label=params.metric,
        x_ticks=tuple(texts[x]),
        y_ticks=tuple(texts[y]),
        texts=tuple(tuple("" if v != v else f"{v:.3g}" for v in row) for row in rows),
        range=scale,
    )


def _proofs(params: SweepParams, results: Results) -> tuple[dict[str, Any], ...]:
    """What the first cells share with the very first, on one seed that both have."""
    names = [arm for arm in list(arms_of(params).values())[:MOST_PROVEN] if results.of(arm)]
    pairs = [pair for arm in names[1:] if (pair := next(results.pairs(names[0], arm), None))]
    firsts = {one.seed: one for one, _ in pairs}
    prints = {seed: factors.fingerprint(results.start(run)) for seed, run in firsts.items()}
    return tuple(
        factors.compared(
            prints[one.seed], factors.fingerprint(results.start(other)), (one.arm, other.arm)
        )
        for one, other in pairs
    )


def _unproven(params: SweepParams) -> tuple[str, ...]:
    cells = prod(len(values) for values in params.fields.values())
    if cells <= MOST_PROVEN:
        return ()
    return (f"That cells start alike was proven for the first {MOST_PROVEN} of {cells}.",)


EXPERIMENT = Experiment(
    kind="sweep",
    claim="The metric depends on the fields: one cell of the grid is better than another.",
    source="a grid of one's own; by default learning rates with and without batch norm, as in "
    "Bjorck et al. 2018, https://arxiv.org/abs/1806.02375",
    params=SweepParams,
    declared=_declared(SweepParams()),
    default_seconds=6,
    plan=plan,
    report=report,
)
