"""What the service answers about experiments, as typed values; see `evalmode.resources`."""

from collections.abc import Mapping
from typing import Any, Literal

from evalmode.resources import ENDED, Checked, Failure, Resource, State, Time

Verdict = Literal["supports", "contradicts", "inconclusive"]


class DeclaredEffect(Resource):
    """The one effect that an experiment is judged by, stated before anything is trained."""

    name: str
    unit: str = ""  # of a difference
    scale: Literal["difference", "ratio"]
    claimed: Literal["above", "below"]
    margin: float  # within it is no effect


class SeedEffect(Resource):
    """The effect in one seed."""

    seed: int
    value: float | None = None  # None: there is none, and `note` says why
    note: str = ""


class Effect(DeclaredEffect):
    """The declared effect as it was found."""

    value: float | None = None
    ci_low: float | None = None  # of the 95 % t interval over seeds; None with fewer than two
    ci_high: float | None = None
    n: int  # seeds that gave a number
    seeds: tuple[SeedEffect, ...] = ()
    verdict: Verdict


class Kind(Resource):
    """A kind of experiment."""

    kind: str
    claim: str  # one sentence, as it is judged
    source: str  # where it is claimed
    params: Mapping[str, Any]  # JSON Schema
    default_seconds: int  # on two cores
    default_seeds: tuple[int, ...] = ()
    effect: DeclaredEffect


class ExperimentRun(Resource):
    """One run of an experiment."""

    id: str
    arm: str  # what it is compared as
    seed: int
    state: State | None = None  # None: it was deleted
    outcome: Literal["completed", "diverged"] | None = None


class ExperimentProgress(Resource):
    """How far an experiment is, over all of its runs."""

    step: int
    steps: int
    fraction: float  # 0 to 1
    runs: int
    ended: int  # of the runs


class ReportLinks(Resource):
    """Paths of the parts of a report."""

    report: str
    page: str
    figures: Mapping[str, Mapping[str, str]] = {}  # by name and form
    tables: Mapping[str, Mapping[str, str]] = {}


class ReportSummary(Resource):
    """A report in brief."""

    claim: str
    verdict: Verdict
    effect: Effect
    summary: str
    caveats: tuple[str, ...] = ()
    links: ReportLinks


class ExperimentRecord(Resource):
    """An experiment as the service tells it."""

    id: str
    kind: str
    params: Mapping[str, Any]  # every default filled in
    seeds: list[int]
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    runs: list[ExperimentRun]
    progress: ExperimentProgress
    operation: str | None = None  # that makes the report, once all runs have ended
    report: ReportSummary | None = None  # once succeeded; all of it: `client.experiments.report`
    error: Failure | None = None  # once failed
    created_at: Time
    started_at: Time | None = None
    finished_at: Time | None = None

    @property
    def is_ended(self) -> bool:
        """Whether the state will never change again."""
        return self.state in ENDED


class PlannedRun(Checked):
    """One run that an experiment would have."""

    arm: str
    seed: int
    estimated_seconds: float  # on one core


class CheckedExperiment(Resource):
    """An experiment that was checked and not queued."""

    kind: str
    params: Mapping[str, Any]  # every default filled in
    seeds: list[int]
    effect: DeclaredEffect
    runs: list[PlannedRun]
    estimated_seconds: float  # of all runs on the cores that are there


class ReportFigure(Resource):
    """A figure of a report."""

    name: str
    title: str
    evidence: str  # the sentence that it is evidence for
    notes: tuple[str, ...] = ()
    links: Mapping[str, str] = {}  # by form: svg, png, json, csv


class ReportTable(Resource):
    """A table of a report; None stands for a number that is not finite, or for none."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[Any]]
    not_finite: tuple[Mapping[str, Any], ...] = ()  # row, column and what is not finite there
    note: str = ""
    links: Mapping[str, str] = {}


class Report(Resource):
    """The answer of an experiment."""

    experiment: str  # id
    kind: str
    claim: str
    source: str
    verdict: Verdict
    effect: Effect
    summary: str
    others: tuple[Effect, ...] = ()  # more claims that the same runs settle
    tables: tuple[ReportTable, ...] = ()
    figures: tuple[ReportFigure, ...] = ()
    caveats: tuple[str, ...] = ()  # what it cannot show
    factors: tuple[Mapping[str, Any], ...] = ()  # that arms differ in one factor, proven by hashes
    params: Mapping[str, Any] = {}
    seeds: tuple[int, ...] = ()
    runs: tuple[Mapping[str, Any], ...] = ()
    environment: Mapping[str, Any] = {}  # cpu, torch, threads, device
    repeat: Mapping[str, Any] = {}  # how to ask for it again
