"""A pair: arms that differ in one factor, everything else proven to be equal."""

from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from model.errors import SpecRefused
from model.figures.charts import Bars, BarSeries, Curves, Figure, Numbers, Role
from model.lab import factors
from model.lab.arms import by_seed
from model.lab.bands import band
from model.lab.compare import Of, paired
from model.lab.experiment import Experiment, PlannedRun
from model.lab.fields import PLANNED, FieldName, varied
from model.lab.metric import (
    MetricParams,
    diverged_caveats,
    missing_caveats,
    number_of,
    numbers,
)
from model.lab.report import Report, Table
from model.lab.results import Results
from model.lab.verdict import Declared, Effect, OfSeed, judge
from model.spec import RunSpec, plain_text

ROLES: tuple[Role, ...] = (
    *("none", "batch", "noisy", "other"),
    *("third", "fourth", "fifth", "aside"),
)
ArmName = Annotated[str, Field(min_length=1, max_length=60), AfterValidator(plain_text)]


def _is_one_of_a_run(field: str) -> str:
    if field.partition(".")[0] in (*PLANNED, "labels"):
        raise ValueError("the seed, the name and the labels are no factor")
    return field


class PairParams(MetricParams):
    """Which arms are compared, in what they differ and by which metric they are judged."""

    factor: Annotated[FieldName, AfterValidator(_is_one_of_a_run)] = Field(
        "norm", description="The field of the spec in which the arms differ, dotted."
    )
    arms: dict[ArmName, Any] = Field(
        {"none": "none", "batch": "batch"},
        min_length=2,
        max_length=len(ROLES),
        description="Value of the factor by name of the arm. The first one is the reference; the "
        "verdict is about the second.",
    )
    claimed: Literal["above", "below"] = Field(
        "above", description="On which side of the reference the second arm is claimed to be."
    )
    margin: float = Field(
        0.0, ge=0, le=1e12, description="Differences within +-margin count as no effect."
    )


def plan(params: PairParams, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Every arm of a seed, then those of the next: what ends first can be compared first.

    Raises:
        SpecRefused: an arm is no spec, or equal to another one.
    """
    specs = {arm: _spec(params, arm) for arm in params.arms}
    names = list(specs)
    for i, arm in enumerate(names):
        same = next((other for other in names[:i] if specs[other] == specs[arm]), None)
        if same is not None:
            raise SpecRefused(f"arms.{arm}", f"it is the same as arm {same}")
    return tuple(
        PlannedRun(arm, seed, spec.model_copy(update={"seed": seed}))
        for seed in seeds
        for arm, spec in specs.items()
    )


def report(params: PairParams, results: Results) -> Report:
    """Compare every arm with the first one, seed by seed."""
    reference, second, *more = params.arms
    of = number_of(params, results.runs)
    proven = proofs(results, reference, (second, *more))
    same = {proof["arms"][1] for proof in proven if factors.is_one_network(proof)}
    effect, *others = (_effect(params, results, of, arm, arm in same) for arm in (second, *more))
    counted = [run for run in results.runs if run.counts]
    return Report(
        effect=effect,
        summary=_summary(params, results, of, effect),
        tables=(_by_seed(params, results, of),),
        figures=(_curves(params, results), _bars(params, results, of)) if counted else (),
        caveats=(
            *missing_caveats(counted, params),
            *diverged_caveats(counted, params),
            *factors.caveats(proven),
        ),
        factors=proven,
        others=tuple(others),
    )


def proofs(results: Results, reference: str, others: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """That arms differ from a reference as they should, seed by seed."""
    first = {run.seed: factors.fingerprint(results.start(run)) for run in results.of(reference)}
    return tuple(
        factors.compared(first[run.seed], factors.fingerprint(results.start(run)), (reference, arm))
        for arm in others
        for run in results.of(arm)
        if run.seed in first
    )


def _spec(params: PairParams, arm: str) -> RunSpec:
    factor = params.factor
    return varied(params.base, {factor: params.arms[arm]}, {factor: f"arms.{arm}"})


def _declared(params: PairParams, arm: str) -> Declared:
    reference = next(iter(params.arms))
    name = f"{params.metric}{' (mean)' if params.at == 'mean' else ''}: {arm} - {reference}"
    return Declared(name, "", "difference", params.claimed, params.margin)


def _effect(params: PairParams, results: Results, of: Of, arm: str, is_one_network: bool) -> Effect:
    """What an arm comes to against the reference; where both are one network, nothing."""
    declared = _declared(params, arm)
    seeds = paired(results, declared, arm, next(iter(params.arms)), of)
    if is_one_network:
        seeds = [OfSeed(one.seed, None, "the arms are one network") for one in seeds]
    return judge(declared, seeds)


def _summary(params: PairParams, results: Results, of: Of, effect: Effect) -> str:
    parts = []
    for arm in params.arms:
        values = numbers(of, results.of(arm))
        said = f"{fmean(values):.4g}" if values else "unknown"
        parts.append(f"{said} with {arm} (n = {len(values)})")
    told = f"{params.metric}, {params.at} value, mean over seeds: {', '.join(parts)}."
    if effect.value is None:
        return f"{told} There is no seed in which both arms can be compared."
    text = f"{told} {effect.declared.name} is {effect.value:+.4g}"
    if effect.ci_low is None or effect.ci_high is None:
        return f"{text} in one seed, which gives no interval."
    return f"{text}, with a 95 % interval from {effect.ci_low:+.4g} to {effect.ci_high:+.4g}."


def _by_seed(params: PairParams, results: Results, of: Of) -> Table:
    rows = {arm: (arm, of) for arm in params.arms}
    return by_seed("by-seed", f"{params.metric}, {params.at} value", results, rows)


def _roles(params: PairParams) -> dict[str, Role]:
    return dict(zip(params.arms, ROLES, strict=False))


def _curves(params: PairParams, results: Results) -> Figure:
    curves = tuple(
        band(results.of(arm), params.metric, arm, role)
        for arm, role in _roles(params).items()
        if results.of(arm)
    )
    panel = Curves(params.metric, "optimizer steps", params.metric, curves)
    evidence = "Each line is the median over seeds, its band from the lowest to the highest."
    return Figure("curves", f"{params.metric} over training", evidence, (panel,))


def _bars(params: PairParams, results: Results, of: Of) -> Figure:
    series = tuple(map(partial(_bar, results, of), *zip(*_roles(params).items(), strict=True)))
    panel = Bars(f"{params.metric}, {params.at}", params.metric, (params.metric,), series)
    evidence = "Each bar is the mean of an arm, each dot one seed."
    return Figure("arms", f"{params.metric} of every arm", evidence, (panel,))


def _bar(results: Results, of: Of, arm: str, role: Role) -> BarSeries:
    values: Numbers = numbers(of, results.of(arm))
    mean = fmean(values) if values else float("nan")
    return BarSeries(arm, (mean,), role, seeds=(values,))


EXPERIMENT = Experiment(
    kind="pair",
    claim="The second arm is better than the first, with everything else equal.",
    source="any two or more arms of one's own; by default batch norm against none, as in Ioffe "
    "and Szegedy 2015, https://arxiv.org/abs/1502.03167",
    params=PairParams,
    declared=_declared(PairParams(), "batch"),
    default_seconds=5,
    plan=plan,
    report=report,
)
