"""Experiments as the API shows them."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from pydantic import Field

from api import resources
from api.checked import CheckedSpec, values_of
from api.experiment_request import SEEDS
from api.experiments import Checked
from api.resources import Resource, RunError, Time
from core.experiments import Experiment, Place, Standing
from core.states import ENDED, Outcome, State
from model.lab.catalogue import EXPERIMENTS
from model.lab.verdict import Declared

Verdict = Literal["supports", "contradicts", "inconclusive"]
_FORMS = ("svg", "png", "json", "csv")


class DeclaredEffect(Resource):
    """The one effect that an experiment is judged by, stated before anything is trained."""

    name: str = Field(description="What is compared with what.")
    unit: str = Field(description="Of a difference; empty for a ratio, or where there is none.")
    scale: Literal["difference", "ratio"] = Field(description="Ratios are averaged as logarithms.")
    claimed: Literal["above", "below"] = Field(description="Where the claim says that it is.")
    margin: float = Field(
        description="Differences within +-margin, or ratios within 1/margin to margin, count as "
        "no effect."
    )


class SeedEffect(Resource):
    """The effect in one seed."""

    seed: int = Field(description="Of the runs that were compared.")
    value: float | None = Field(description="null: there is none, and `note` says why.")
    note: str = Field(description="What a reader must know: a run that diverged, a bound.")


class Effect(DeclaredEffect):
    """The declared effect as it was found."""

    value: float | None = Field(description="Mean of differences, geometric mean of ratios.")
    ci_low: float | None = Field(description="Of the 95 % t interval over seeds.")
    ci_high: float | None = Field(description="Its upper end; null with fewer than two seeds.")
    n: int = Field(description="Seeds that gave a number.")
    seeds: list[SeedEffect] = Field(description="Every seed.")
    verdict: Verdict = Field(
        description="`supports`: the whole interval is beyond the margin as claimed. "
        "`contradicts`: beyond it on the other side, or within +-margin. Else `inconclusive`."
    )


class KindResource(Resource):
    """A kind of experiment."""

    object: Literal["experiment_kind"] = "experiment_kind"
    kind: str = Field(description="What a request names.")
    claim: str = Field(description="One sentence, as it is judged.")
    source: str = Field(description="Where the claim is made.")
    params: dict[str, Any] = Field(description="JSON Schema of its params, with their defaults.")
    default_seconds: int = Field(
        description="What it took with default params and seeds on two cores."
    )
    default_seeds: list[int] = Field(description="Seeds of a request that names none.")
    effect: DeclaredEffect = Field(description="With default params.")


class ExperimentRun(Resource):
    """One run of an experiment."""

    id: str = Field(description="`run_…`; an ordinary run.")
    arm: str = Field(description="What it is compared as; the same for all seeds.")
    seed: int = Field(description="Of initialization, order and dropout.")
    state: State | None = Field(description="Where it stands; null: it was deleted.")
    outcome: Outcome | None = Field(description="How it ended, once succeeded.")


class ExperimentProgress(Resource):
    """How far an experiment is, over all of its runs."""

    step: int = Field(description="Optimizer steps done; those of a run that ended early count.")
    steps: int = Field(description="Optimizer steps of all budgets.")
    fraction: float = Field(description="Share of the steps, 0 to 1.")
    runs: int = Field(description="Runs of the plan.")
    ended: int = Field(description="Runs that have ended.")


class ReportLinks(Resource):
    """Where the parts of a report are."""

    report: str = Field(description="The whole report as JSON.")
    page: str = Field(description="One self-contained page of HTML.")
    figures: dict[str, dict[str, str]] = Field(description="By name and form.")
    tables: dict[str, dict[str, str]] = Field(description="By name and form.")


class ReportSummary(Resource):
    """A report in brief."""

    claim: str = Field(description="What was judged.")
    verdict: Verdict = Field(description="What the runs say about it.")
    effect: Effect = Field(description="What it was judged by.")
    summary: str = Field(description="What was found, in words.")
    caveats: list[str] = Field(description="What it cannot show.")
    links: ReportLinks = Field(description="Its parts.")


class ExperimentResource(Resource):
    """A plan of runs with a report."""

    id: str = Field(description="`exp_…`; ids ascend with time.")
    object: Literal["experiment"] = "experiment"
    kind: str = Field(description="See /v1/experiments/kinds.")
    params: dict[str, Any] = Field(description="As asked, with every default filled in.")
    seeds: list[int] = Field(description="As asked.")
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"] = Field(
        description="`succeeded` once its report is there."
    )
    runs: list[ExperimentRun] = Field(description="In the order of the plan.")
    progress: ExperimentProgress = Field(description="How far they are.")
    operation: str | None = Field(
        description="`op_…` that makes the report, once all runs have ended."
    )
    report: ReportSummary | None = Field(description="Once it is there.")
    error: RunError | None = Field(description="Why there is no report, once failed.")
    created_at: Time = Field(description="When it was accepted.")
    started_at: Time | None = Field(description="When its first run began.")
    finished_at: Time | None = Field(description="When it ended.")


class PlannedResource(CheckedSpec):
    """One run that an experiment would have."""

    arm: str = Field(description="What it would be compared as.")
    seed: int = Field(description="Of initialization, order and dropout.")
    estimated_seconds: float = Field(description="On one core, good to a factor of two or so.")


class ExperimentValidation(Resource):
    """What an experiment would have become."""

    object: Literal["validation"] = "validation"
    kind: str = Field(description="As asked.")
    params: dict[str, Any] = Field(description="With every default filled in.")
    seeds: list[int] = Field(description="As asked, or the default ones.")
    effect: DeclaredEffect = Field(description="Of the kind, with default params.")
    runs: list[PlannedResource] = Field(description="In the order of the plan.")
    estimated_seconds: float = Field(description="Of all runs on the cores that are there now.")


class ReportResource(Resource):
    """The answer of an experiment."""

    object: Literal["report"] = "report"
    experiment: str = Field(description="`exp_…`")
    kind: str = Field(description="Of the experiment.")
    claim: str = Field(description="What was judged.")
    source: str = Field(description="Where the claim is made.")
    verdict: Verdict = Field(description="What the runs say about it.")
    effect: Effect = Field(description="What it was judged by.")
    summary: str = Field(description="What was found, in words.")
    others: list[Effect] = Field(description="More claims that the same runs settle.")
    tables: list[dict[str, Any]] = Field(
        description="`{name, title, columns, rows, not_finite, note, links}`; a cell that is not "
        "finite is null, and `not_finite` says what it was."
    )
    figures: list[dict[str, Any]] = Field(
        description="`{name, title, evidence, notes, links}`; `evidence` is the sentence that the "
        "figure is evidence for."
    )
    caveats: list[str] = Field(description="What it cannot show, and runs that are not in it.")
    factors: list[dict[str, Any]] = Field(
        description="That arms differ in one factor: the differing fields, equal hashes of the "
        "order of rows and of every shared initial tensor."
    )
    params: dict[str, Any] = Field(description="As asked, with every default filled in.")
    seeds: list[int] = Field(description="As asked.")
    runs: list[dict[str, Any]] = Field(
        description="`{run, arm, seed, state, outcome, why, step, steps, device, spec_hash, spec}`"
    )
    environment: dict[str, Any] = Field(description="`{cpu, torch, threads, device}`")
    repeat: dict[str, Any] = Field(
        description="`{method, path, body, command}`: how to ask for it again."
    )


def kinds() -> list[KindResource]:
    """Every kind, by name."""
    return list(_kinds())


@cache
def _kinds() -> tuple[KindResource, ...]:
    return tuple(
        KindResource(
            kind=one.kind,
            claim=one.claim,
            source=one.source,
            params=one.params.model_json_schema(),
            default_seconds=one.default_seconds,
            default_seeds=list(SEEDS),
            effect=_declared(one.declared),
        )
        for _, one in sorted(EXPERIMENTS.items())
    )


def _declared(declared: Declared) -> DeclaredEffect:
    return DeclaredEffect.model_validate(vars(declared))


def resource(
    record: Experiment, standings: Mapping[str, Standing], operations: Mapping[str, str]
) -> ExperimentResource:
    """An experiment as its resource.

    Args:
        standings: of its runs, by their ids.
        operations: that make reports, by the ids of experiments.
    """
    return ExperimentResource.model_validate(
        {
            "id": record.id,
            "kind": record.kind,
            "params": record.params,
            "seeds": record.seeds,
            "state": record.state.value,
            "runs": [_run(place, standings.get(place.run)) for place in record.plan],
            "progress": _progress(record, standings),
            "operation": operations.get(record.id),
            "report": _report(record),
            "error": record.error,
            "created_at": resources.time(record.created_at),
            "started_at": resources.time_or_none(record.started_at),
            "finished_at": resources.time_or_none(record.finished_at),
        }
    )


def _run(place: Place, standing: Standing | None) -> ExperimentRun:
    return ExperimentRun(
        id=place.run,
        arm=place.arm,
        seed=place.seed,
        state=standing.state if standing else None,
        outcome=standing.outcome if standing else None,
    )


def _progress(record: Experiment, standings: Mapping[str, Standing]) -> ExperimentProgress:
    found = [standings[place.run] for place in record.plan if place.run in standings]
    ended = [one.state in ENDED for one in found]
    step = sum(
        one.steps if is_over else one.step for one, is_over in zip(found, ended, strict=True)
    )
    steps = sum(one.steps for one in found)
    return ExperimentProgress(
        step=step,
        steps=steps,
        fraction=step / steps if steps else float(record.ended),
        runs=len(record.plan),
        ended=len(record.plan) - len(found) + sum(ended),
    )


def _report(record: Experiment) -> dict[str, Any] | None:
    if record.summary is None:
        return None
    at = f"/v1/experiments/{record.id}"
    links = {
        "report": f"{at}/report",
        "page": f"{at}/report.html",
        "figures": {
            name: {form: f"{at}/figures/{name}.{form}" for form in _FORMS}
            for name in record.summary["figures"]
        },
        "tables": {name: {"csv": f"{at}/tables/{name}.csv"} for name in record.summary["tables"]},
    }
    return record.summary | {"links": links}


def validation(checked: Checked) -> ExperimentValidation:
    """What a request would have become."""
    asked = checked.wanted
    planned = zip(asked.plan, checked.runs, checked.run_seconds, strict=True)
    return ExperimentValidation(
        kind=asked.experiment.kind,
        params=asked.params.model_dump(mode="json"),
        seeds=list(asked.seeds),
        effect=_declared(asked.experiment.declared),
        runs=[
            PlannedResource(
                arm=run.arm,
                seed=run.seed,
                estimated_seconds=seconds,
                **values_of(admitted.checked),
            )
            for run, admitted, seconds in planned
        ],
        estimated_seconds=checked.seconds,
    )
