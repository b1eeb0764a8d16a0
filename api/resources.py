"""Records as the API shows them: one model per resource, every field described.

A field may be added; none is renamed. It knows no route.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from core.events import Event
from core.metrics import Series
from core.runs import Run
from core.states import Outcome, State
from model.spec import RunSpec

Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
T = TypeVar("T")


class _DescribedAsSpec:
    """Gives a dictionary the schema of a spec.

    It is stored as it was checked; checking it again for every answer would say nothing new.
    """

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(RunSpec.__pydantic_core_schema__)


Spec = Annotated[dict[str, Any], _DescribedAsSpec()]


def time(seconds: float) -> Time:
    """Seconds since 1970 as RFC 3339 in UTC, to the millisecond."""
    at = datetime.fromtimestamp(seconds, UTC)
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def time_or_none(seconds: float | None) -> Time | None:
    """The same for what may not have happened."""
    return None if seconds is None else time(seconds)


class Resource(BaseModel):
    """What every answer has in common."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null")


class Progress(Resource):
    """How far a run is."""

    step: int = Field(description="Optimizer steps done.")
    steps: int = Field(description="Optimizer steps of the whole budget.")
    fraction: float = Field(description="Share of the steps done, 0 to 1.")
    steps_per_second: float | None = Field(description="Present speed; null unless it trains.")
    eta_seconds: float | None = Field(description="Seconds left; null unless it trains.")
    updated_at: Time | None = Field(description="When the owner last reported.")


class MetricSummary(Resource):
    """One metric of a run so far."""

    last: float | None = Field(description="Newest value; null where it is not finite.")
    best: float | None = Field(
        description="Lowest loss, highest accuracy, newest value of anything else."
    )
    step: int = Field(description="Optimizer step of the newest value.")
    last_not_finite: Literal["nan", "inf", "-inf"] | None = Field(
        None, description="What the newest value is where `last` is null."
    )


class RunError(Resource):
    """Why a run or an operation failed."""

    cause: Literal["user", "infra", "code"] = Field(description="Whose fault it was.")
    reason: str = Field(description="Stable code.")
    message: str = Field(description="A sentence for people.")


class FindingResource(Resource):
    """Something that the owner of a run should know."""

    reason: str = Field(description="Stable code.")
    severity: Literal["error", "warning", "note"] = Field(description="How much it matters.")
    layer: str | None = Field(description="Layer, by its state-dict prefix; null: all.")
    evidence: dict[str, Any] = Field(description="Every number that the rule looked at.")
    remedy: str = Field(description="What to do about it.")


class RunResource(Resource):
    """A run: the record and the work."""

    id: str = Field(description="`run_…`; ids ascend with time.")
    object: Literal["run"] = "run"
    name: str | None = Field(description="For people.")
    state: State = Field(description="Where it stands.")
    outcome: Outcome | None = Field(description="How it ended, once succeeded.")
    spec: Spec = Field(description="What was asked, with every default filled in.")
    spec_hash: str = Field(description="sha256 of what decides the numbers.")
    progress: Progress = Field(description="How far it is.")
    metrics: dict[str, MetricSummary] = Field(description="By name.")
    checkpoint: str | None = Field(description="Id of the newest checkpoint asked for.")
    error: RunError | None = Field(description="Why it failed, once failed.")
    attempts: int = Field(description="How often a worker has started on it.")
    device: str = Field(description="What it trains or trained on; before that, as asked.")
    labels: dict[str, str] = Field(description="Free pairs to filter by.")
    experiment: str | None = Field(description="`exp_…` that it is a part of, while that is there.")
    findings: list[FindingResource] = Field(description="Of the submission.")
    created_at: Time = Field(description="When it was accepted.")
    started_at: Time | None = Field(description="When its first step began.")
    finished_at: Time | None = Field(description="When it ended.")


def run(record: Run) -> RunResource:
    """A run as its resource."""
    return RunResource(
        id=record.id,
        name=record.name,
        state=record.state,
        outcome=record.outcome,
        spec=record.spec,
        spec_hash=record.spec_hash,
        progress=_progress(record),
        metrics={name: MetricSummary(**one) for name, one in record.metrics.items()},
        checkpoint=record.checkpoint_id,
        error=None if record.error is None else RunError.model_validate(record.error),
        attempts=record.attempts,
        device=record.worker_device or record.device,
        labels=record.labels,
        experiment=record.experiment_id,
        findings=[FindingResource(**finding) for finding in record.findings],
        created_at=time(record.created_at),
        started_at=time_or_none(record.started_at),
        finished_at=time_or_none(record.finished_at),
    )


def _progress(record: Run) -> Progress:
    return Progress(
        step=record.step,
        steps=record.steps,
        fraction=record.fraction,
        steps_per_second=record.steps_per_second,
        eta_seconds=record.eta_seconds,
        updated_at=time_or_none(record.progress_at),
    )


class EventResource(Resource):
    """One line of a run's log."""

    seq: int = Field(description="1, 2, … within the run.")
    at: Time = Field(description="When it happened.")
    level: Literal["info", "warning", "error"] = Field(description="How bad it is.")
    type: str = Field(description="Stable word, such as queued, started, checkpoint, succeeded.")
    message: str = Field(description="A sentence for people.")
    data: dict[str, Any] = Field(description="Every value of the message.")


def event(record: Event) -> EventResource:
    """An event as its resource."""
    return EventResource.model_validate({**vars(record), "at": time(record.at)})


class SeriesResource(Resource):
    """One metric over the steps of a run."""

    steps: list[int] = Field(description="Optimizer steps, ascending.")
    values: list[float | None] = Field(description="One per step; null where not finite.")
    sampled: bool = Field(description="Whether points were left out to keep to max_points.")
    of: int = Field(description="How many points there are.")
    not_finite: list[str | None] | None = Field(
        description="nan, inf or -inf at the places where a value is null; null if none is."
    )


class Metrics(Resource):
    """Series of a run."""

    object: Literal["metrics"] = "metrics"
    series: dict[str, SeriesResource] = Field(description="By name; one without points is absent.")


def series(record: Series) -> SeriesResource:
    """A series as its resource."""
    words = record.not_finite if any(record.not_finite) else None
    return SeriesResource.model_validate({**vars(record), "not_finite": words})


class Listing(Resource, Generic[T]):
    """One page of a list, newest first."""

    object: Literal["list"] = "list"
    data: list[T] = Field(description="The items of this page.")
    has_more: bool = Field(description="Whether there is a next page.")
    last_id: str | None = Field(description="`after` of the next page; null for an empty page.")
