"""The post as an experiment: its claims in its order, each settled by an experiment of its own."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import log
from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from model.lab.experiment import DatasetName, Experiment, Params, PlannedRun
from model.lab.report import Report, Section, Table
from model.lab.results import Results
from model.lab.seed_post.claims import CLAIMS, Part, PostClaim
from model.lab.seed_post.kinds import KINDS
from model.lab.verdict import Declared, Effect, OfSeed, judge
from model.spec.parts import at_most

DECLARED = Declared(
    "share of the post's claims that hold in a seed, less one half",
    *("", "difference", "above"),
    margin=0.0,
)


class PostParams(Params):
    """Which claims, on which rows."""

    scale: Literal["default"] = Field(
        "default", description="For published settings ask the experiments one by one."
    )
    dataset: DatasetName | None = Field(
        None,
        description="Rows with classes for every claim that can be asked of any, each without "
        "networks that not every dataset fits; null: each experiment's own.",
    )
    parts: Annotated[tuple[Part, ...], Strict(False), at_most(len(CLAIMS))] = Field(
        tuple(claim.kind for claim in CLAIMS),
        min_length=1,
        max_length=len(CLAIMS),
        description="Kinds of experiments whose claims are asked, told in the post's order.",
    )


def plan(params: PostParams, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """The runs of every experiment, one experiment after the other."""
    return tuple(
        replace(run, arm=f"{claim.kind}: {run.arm}")
        for claim, experiment, asked in _asked(params)
        for run in experiment.plan(asked, seeds)
    )


def report(params: PostParams, results: Results) -> Report:
    """Every experiment's report as a section, in the order of the post."""
    told = [
        (claim, experiment.report(asked, _of(results, claim)))
        for claim, experiment, asked in _asked(params)
    ]
    effect = judge(DECLARED, list(shares([one for _, one in told], results.seeds)))
    sections = tuple(_section(*one) for one in told)
    return Report(
        effect=effect,
        summary=_summary(sections),
        tables=(_overview(sections), *(t for one in told for t in _named(*one).tables)),
        figures=tuple(figure for one in told for figure in _named(*one).figures),
        caveats=tuple(f"{c.title}: {text}" for c, one in told for text in one.caveats),
        factors=tuple(factor for _, one in told for factor in one.factors),
        others=tuple(other for _, one in told for other in one.others),
        sections=sections,
    )


def _asked(params: PostParams) -> Iterator[tuple[PostClaim, Experiment, Params]]:
    for claim in CLAIMS:
        if claim.kind in params.parts:
            yield claim, KINDS[claim.kind], _params_of(params, claim)


def _params_of(params: PostParams, claim: PostClaim) -> Params:
    kind = KINDS[claim.kind].params
    given: dict[str, Any] = dict(claim.params)
    if params.dataset is not None and "dataset" in kind.model_fields:
        given |= {"dataset": params.dataset, **claim.of_any}
    return kind.model_validate(given)


def _of(results: Results, claim: PostClaim) -> Results:
    """The runs of one experiment, under the names that it gave them."""
    prefix = f"{claim.kind}: "
    mine = (run for run in results.runs if run.arm.startswith(prefix))
    return replace(
        results, runs=tuple(replace(run, arm=run.arm.removeprefix(prefix)) for run in mine)
    )


def _named(claim: PostClaim, told: Report) -> Report:
    """A report whose tables and figures have names that no other one has."""
    prefix = f"{claim.kind.replace('_', '-')}-"
    return replace(
        told,
        tables=tuple(replace(one, name=prefix + one.name) for one in told.tables),
        figures=tuple(replace(one, name=prefix + one.name) for one in told.figures),
    )


def _section(claim: PostClaim, told: Report) -> Section:
    named = _named(claim, told)
    return Section(
        claim.title,
        claim.claim,
        told.effect,
        told.summary,
        tuple(figure.name for figure in named.figures),
        tuple(table.name for table in named.tables),
        claim.leaves_open,
    )


def shares(reports: Sequence[Report], seeds: Iterable[int]) -> Iterator[OfSeed]:
    """Of each seed, the share of claims that hold in it, less one half.

    A seed in which not every claim has a value has none: what is left would be another question.
    """
    known = {one.seed for told in reports for one in told.effect.seeds}
    for seed in sorted(known.union(seeds)):
        held = [found for told in reports if (found := _holds(told.effect, seed)) is not None]
        if len(held) < len(reports):
            yield OfSeed(seed, None, f"{len(held)} of {len(reports)} claims have a value")
        else:
            yield OfSeed(seed, fmean(held) - 0.5, f"{sum(held)} of {len(held)} claims")


def _holds(effect: Effect, seed: int) -> bool | None:
    """Whether a seed's value is beyond the margin on the claimed side.

    None: it has no value, or but a bound, and the true one may lie across the margin.
    """
    one = next((one for one in effect.seeds if one.seed == seed), None)
    if one is None or one.value is None:
        return None
    is_beyond = _is_beyond(effect.declared, one.value)
    if one.bound and is_beyond != (one.bound == effect.declared.towards):
        return None
    return is_beyond


def _is_beyond(declared: Declared, value: float) -> bool:
    margin = declared.margin
    if declared.scale == "ratio":
        value, margin = log(value), log(margin)
    return value > margin if declared.claimed == "above" else value < -margin


def _overview(sections: Sequence[Section]) -> Table:
    rows = tuple(
        (one.title, one.effect.verdict, one.effect.declared.name, one.effect.value, one.effect.n)
        for one in sections
    )
    columns = ("part of the post", "verdict", "effect", "value", "seeds")
    return Table("claims", "The claims of the post and our verdicts", columns, rows)


def _summary(sections: Sequence[Section]) -> str:
    def of(verdict: str) -> list[str]:
        return [one.title for one in sections if one.effect.verdict == verdict]

    told = [
        f"{len(found)} {word}{': ' + '; '.join(found) if found else ''}"
        for word, found in (
            ("supported", of("supports")),
            ("contradicted", of("contradicts")),
            ("inconclusive", of("inconclusive")),
        )
    ]
    return f"Of {len(sections)} claims of the post, {'. '.join(told)}."


EXPERIMENT = Experiment(
    kind="seed_post",
    claim="Most of what the post says of batch norm holds when it is measured.",
    source="the post BatchNorm of 2024-04-01, https://iancheung228.github.io, after Ioffe and "
    "Szegedy 2015, https://arxiv.org/abs/1502.03167, and Santurkar et al. 2018, "
    "https://arxiv.org/abs/1805.11604",
    params=PostParams,
    declared=DECLARED,
    default_seconds=260,
    plan=plan,
    report=report,
)
