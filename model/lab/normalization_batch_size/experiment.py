"""How many rows should be normalized together, when the gradient's batch stays as it is?"""

from collections.abc import Iterator, Mapping
from math import nan
from statistics import fmean

from model.figures.charts import Curve, Curves, Figure, Role
from model.lab import factors
from model.lab.arms import by_seed, ended_early, sentence
from model.lab.compare import Of, Outcome, paired
from model.lab.errors import ONE_ROW
from model.lab.experiment import Experiment
from model.lab.normalization_batch_size.errors_of_run import NAMES, AllErrors, look, of_error
from model.lab.normalization_batch_size.plan import GroupParams, arm_name, plan
from model.lab.pair import proofs
from model.lab.report import Cell, Report, Table
from model.lab.results import Results, RunResult
from model.lab.verdict import Declared, Effect, judge

MARGIN = 2.0  # points of error that count as no effect
SMALL_MARGIN = 0.3  # the same on the flat side of the curve
#: Errors in percent as published, by rows that are normalized together.
PUBLISHED: Mapping[str, Mapping[int, float]] = {
    "precise": {1024: 23.7, 256: 23.6, 64: 23.2, 32: 23.4, 16: 23.5, 8: 24.3, 4: 26.4, 2: 32.5},
    "groups": {1024: 24.8, 256: 24.7, 64: 24.7, 32: 24.5, 16: 24.7, 8: 25.1, 4: 25.5, 2: 26.0},
    "training": {1024: 8.4, 256: 8.8, 64: 9.7, 32: 10.7, 16: 12.0, 8: 13.5, 4: 15.1, 2: 16.5},
}
ROLES: dict[str, Role] = {
    "running": "batch",
    "precise": "fourth",
    "groups": "none",
    "training": "other",
}
CAVEATS = (
    "Published is a ResNet-50 on ImageNet, total batch 1,024; its errors are in a table. In a "
    "convolution a channel has many values in each row, so that even a group of 2 gives it "
    "statistics. In a "
    "perceptron a group of 2 leaves only which of the two is larger, +1 and -1, so that an answer "
    "by statistics of groups hangs on the neighbour and is no better than by the population's.",
    "That freezing the statistics for the last fifth of training repairs small groups (32.5 to "
    "25.2 % at 2) was not run: no norm of this service trains with frozen statistics.",
)
DIVERGED_IS = "counted as nothing right, and as no difference of two errors"


def report(params: GroupParams, results: Results) -> Report:
    """The errors of every group size, and what the smallest costs."""
    errors = look(results, {arm_name(size): size for size in params.groups})
    reference = arm_name(params.reference)
    rest = [arm_name(size) for size in params.groups if size != params.reference]
    proven = proofs(results, reference, rest)
    effect = _effect(params, results, _declared(params, "running"), of_error(errors, "running"))
    return Report(
        effect=effect,
        summary=_summary(params, results, errors, effect),
        tables=(*_tables(params, results, errors), _published()),
        figures=(_figure(params, results, errors),) if _has_counted(results) else (),
        caveats=(*CAVEATS, *ended_early(results, DIVERGED_IS), *factors.caveats(proven)),
        factors=proven,
        others=tuple(_others(params, results, errors)),
    )


def _declared(params: GroupParams, error: str) -> Declared:
    sizes = f"{arm_name(params.groups[-1])} - {arm_name(params.reference)}"
    name = f"error on {NAMES[error]}: {sizes}"
    return Declared(name, "points", "difference", "above", MARGIN)


def _effect(params: GroupParams, results: Results, declared: Declared, of: Of) -> Effect:
    smallest, reference = arm_name(params.groups[-1]), arm_name(params.reference)
    return judge(declared, paired(results, declared, smallest, reference, of))


def _others(params: GroupParams, results: Results, errors: AllErrors) -> Iterator[Effect]:
    for name in ("precise", "training"):
        yield _effect(params, results, _declared(params, name), of_error(errors, name))
    sizes = f"{arm_name(params.groups[-1])} - {arm_name(params.reference)}"
    name = f"error on test rows, precise statistics less those of groups: {sizes}"
    declared = Declared(name, "points", "difference", "above", MARGIN)
    yield _effect(params, results, declared, _excess(errors))
    if params.groups[0] != params.reference:
        largest, reference = arm_name(params.groups[0]), arm_name(params.reference)
        name = f"error on {NAMES['running']}: {largest} - {reference}"
        declared = Declared(name, "points", "difference", "above", SMALL_MARGIN)
        seeds = paired(results, declared, largest, reference, of_error(errors, "running"))
        yield judge(declared, seeds)


def _excess(errors: AllErrors) -> Of:
    """By how much precise statistics err more than those of groups."""

    def of(run: RunResult) -> Outcome:
        found = errors.get((run.arm, run.seed))
        if found is None:
            return Outcome(None, f"{run.arm} has no network to ask")
        if found.groups is None:
            return Outcome(None, f"{run.arm}: {ONE_ROW}")
        return Outcome(found.precise - found.groups)

    return of


def _tables(params: GroupParams, results: Results, errors: AllErrors) -> tuple[Table, ...]:
    arms = [arm_name(size) for size in params.groups]
    return tuple(
        by_seed(
            name,
            f"error on {told}, percent",
            results,
            {arm: (arm, of_error(errors, name)) for arm in arms},
        )
        for name, told in NAMES.items()
    )


def _published() -> Table:
    sizes = tuple(PUBLISHED["precise"])
    rows: list[tuple[Cell, ...]] = [
        (NAMES[name], *(values[size] for size in sizes)) for name, values in PUBLISHED.items()
    ]
    title = "error as published, percent, by rows that are normalized together"
    return Table("published", title, ("", *map(str, sizes)), tuple(rows))


def _figure(params: GroupParams, results: Results, errors: AllErrors) -> Figure:
    curves = tuple(_curve(params, results, errors, name) for name in NAMES)
    panel = Curves("", "rows that are normalized together", "error, percent", curves, x_log=True)
    return Figure(
        "errors",
        "Error against the size of the groups that are normalized together",
        "How much of what is learned with the statistics of few rows holds with those of the "
        "population.",
        (panel,),
        notes=("Lines are means over seeds, bands from the lowest to the highest.",),
    )


def _curve(params: GroupParams, results: Results, errors: AllErrors, name: str) -> Curve:
    columns = [_values(results, of_error(errors, name), arm_name(size)) for size in params.groups]
    return Curve(
        label=NAMES[name],
        x=params.groups,
        y=[fmean(values) if values else nan for values in columns],
        role=ROLES[name],
        low=[min(values, default=nan) for values in columns],
        high=[max(values, default=nan) for values in columns],
        n=max(map(len, columns)),
    )


def _values(results: Results, of: Of, arm: str) -> list[float]:
    found = (of(run).value for run in results.of(arm))
    return [value for value in found if value is not None]


def _has_counted(results: Results) -> bool:
    return any(run.counts for run in results.runs)


def _summary(params: GroupParams, results: Results, errors: AllErrors, effect: Effect) -> str:
    told = []
    for size in (params.reference, params.groups[-1]):
        means = {name: _values(results, of_error(errors, name), arm_name(size)) for name in NAMES}
        known = ", ".join(
            f"{fmean(values):.1f} % on {NAMES[name]}" for name, values in means.items() if values
        )
        told.append(f"Error with {arm_name(size)}: {known or 'unknown'}.")
    return f"{' '.join(told)} {sentence(effect)}"


EXPERIMENT = Experiment(
    kind="normalization_batch_size",
    claim="Trained with the statistics of very few rows, a network errs more in eval mode.",
    source="Wu and Johnson 2021, section 4 and figure 3, https://arxiv.org/abs/2105.07576; groups "
    "as in Hoffer et al. 2017, https://arxiv.org/abs/1705.08741",
    params=GroupParams,
    declared=_declared(GroupParams(), "running"),
    default_seconds=12,
    plan=plan,
    report=report,
)
