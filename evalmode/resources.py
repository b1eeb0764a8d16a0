"""What the service answers, as typed values; fields that this version does not know are kept.

Knows no HTTP: these are the JSON bodies of the contract and nothing else.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

ENDED = frozenset({"succeeded", "failed", "cancelled"})
State = Literal[
    "queued", "running", "pausing", "paused", "stopping", "succeeded", "failed", "cancelled"
]


def _as_told(time: datetime) -> str:
    text = time.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


#: A time whose JSON is what the service wrote: UTC, to the millisecond.
Time = Annotated[datetime, PlainSerializer(_as_told, return_type=str, when_used="json")]


class Resource(BaseModel):
    """A value from the service: frozen, tolerant of what a newer service adds."""

    model_config = ConfigDict(
        frozen=True, extra="allow", protected_namespaces=(), serialize_by_alias=True
    )


class Progress(Resource):
    """How far a run is, and how old that knowledge is."""

    step: int
    steps: int
    fraction: float  # 0 to 1
    steps_per_second: float | None = None
    eta_seconds: float | None = None
    updated_at: Time | None = None


class MetricSummary(Resource):
    """One metric of a run; None stands for a number that is not finite."""

    last: float | None = None
    best: float | None = None
    step: int | None = None


class Failure(Resource):
    """Why a run or an operation failed, and whose fault it was."""

    cause: Literal["user", "infra", "code"]
    reason: str
    message: str


class Finding(Resource):
    """Something that the owner of a run or a checkpoint should know."""

    reason: str
    severity: Literal["error", "warning", "note"]
    layer: str | None = None
    evidence: Mapping[str, Any] = {}
    remedy: str


class RunRecord(Resource):
    """A run as the service tells it."""

    id: str
    name: str | None = None
    state: State
    outcome: Literal["completed", "diverged"] | None = None
    spec: Mapping[str, Any]
    spec_hash: str
    progress: Progress
    metrics: Mapping[str, MetricSummary] = {}
    checkpoint: str | None = None  # id of the newest one that the spec asked for
    error: Failure | None = None
    attempts: int = 0
    device: str | None = None
    labels: Mapping[str, str] = {}
    experiment: str | None = None  # id of what planned it
    findings: list[Finding] = []  # of the submission
    created_at: Time
    started_at: Time | None = None
    finished_at: Time | None = None

    @property
    def is_ended(self) -> bool:
        """Whether the state will never change again."""
        return self.state in ENDED


class Series(Resource):
    """The points of one metric; None stands for a number that is not finite."""

    steps: list[int]
    values: list[float | None]
    sampled: bool  # whether points were left out
    of: int  # how many there are


class Metrics(Resource):
    """Series by name."""

    series: Mapping[str, Series]

    def __getitem__(self, name: str) -> Series:
        return self.series[name]


class MeasurementSeries(Resource):
    """What one measure found; None stands for a number that is not finite."""

    steps: list[int]
    values: list[Mapping[str, Any]]  # one for each step, its fields those of the measure
    sampled: bool  # whether probes were left out
    of: int  # how many there are


class Measurements(Resource):
    """What measures found, by kind."""

    series: Mapping[str, MeasurementSeries]

    def __getitem__(self, kind: str) -> MeasurementSeries:
        return self.series[kind]


class Event(Resource):
    """One entry of a run's log."""

    seq: int  # 1, 2, 3… within the run
    at: Time
    level: str
    type: str
    message: str
    data: Mapping[str, Any] = {}


class StatisticsSummary(Resource):
    """Which running statistics a checkpoint carries."""

    fingerprint: str
    layers: int  # norm layers that have some


class Checkpoint(Resource):
    """Weights with their running statistics."""

    id: str
    run: str | None = None
    step: int
    metrics: Mapping[str, Any] = {}
    sha256: str  # of the file, in hex
    bytes: int
    statistics: StatisticsSummary
    revision_of: str | None = None
    name: str | None = None  # of a revision, among those of its original
    made_by: Mapping[str, Any] | None = None  # of a revision: method, rows, seed
    findings: list[Finding] = []  # about the statistics
    spec: Mapping[str, Any] = {}
    import_report: Mapping[str, Any] | None = Field(None, alias="import")  # where it just was


class CurvePoint(Resource):
    """How far the statistics of some of the rows are from those of all."""

    batches: int
    rows: int
    mean_error: float | None = None
    variance_error: float | None = None


class OperationResult(Resource):
    """What an operation made: a checkpoint, with its metrics before and after, or a report."""

    checkpoint: str | None = None  # id of the new one
    experiment: str | None = None  # id of what was reported
    before: Mapping[str, Any] = {}
    after: Mapping[str, Any] = {}
    curve: list[CurvePoint] = []
    findings: list[Finding] = []


class OperationRecord(Resource):
    """Work on a checkpoint or an experiment, as the service tells it."""

    id: str
    kind: str  # recalibrate, transplant or report
    state: Literal["queued", "running", "succeeded", "failed"]
    done: bool
    progress: float  # 0 to 1
    checkpoint: str | None = None  # id of what it works on
    experiment: str | None = None  # id of what it reports
    dataset: str | None = None  # id of what it reads rows of
    result: OperationResult | None = None  # once succeeded
    error: Failure | None = None  # once failed
    created_at: Time
    started_at: Time | None = None
    finished_at: Time | None = None

    @property
    def is_ended(self) -> bool:
        """Whether the state will never change again; `done`, under the name that runs have."""
        return self.done


class Dataset(Resource):
    """Rows with targets."""

    id: str
    name: str
    rows: int
    input_shape: tuple[int, ...]
    classes: tuple[str, ...] | None = None
    task: Literal["classification", "regression"]
    fingerprint: str
    splits: Any = None


class Prediction(Resource):
    """The answer for one row: a class, or the values of a regression."""

    label: str | None = None
    index: int | None = None
    probability: float | None = None  # None for networks not trained with cross entropy
    values: list[float | None] | None = None  # one per target


class Caution(Resource):
    """Why an answer is to be taken with care."""

    reason: str
    message: str


class Answering(Resource):
    """What answered: which checkpoint, in which mode, with which running statistics."""

    checkpoint: str
    mode: str
    statistics: str
    name: str | None = None  # of the model, where one was asked
    version: int | None = None  # of that model
    revision: str | None = None  # name of the revision, where it is one
    warnings: list[Caution] | None = None


class Predictions(Resource):
    """The answers for rows, in their order."""

    predictions: list[Prediction]
    model: Answering
    probabilities: list[list[float | None]] | None = None
    logits: list[list[float | None]] | None = None

    @property
    def labels(self) -> list[str | None]:
        """The predicted class of every row."""
        return [prediction.label for prediction in self.predictions]


class MeasurePlan(Resource):
    """How often a measure would be taken, and what it would cost."""

    kind: str
    every: int | None = None  # optimizer steps; None: at steps of its own
    probes: int
    row_passes: float  # of all its probes; training on a row is 3
    share: float  # of the training's row-passes


class Checked(Resource):
    """A spec that was checked and not queued: what it would be and cost."""

    spec: Mapping[str, Any]  # every default filled in; `sizes` has one row per layer
    spec_hash: str
    parameters: int
    memory_bytes: int
    steps: int
    measures: list[MeasurePlan] = []
    findings: list[Finding] = []


class ModelVersion(Resource):
    """One checkpoint under a model's name."""

    version: int  # from 1
    checkpoint: str
    created_at: Time


class Model(Resource):
    """A name under which checkpoints are served."""

    id: str
    name: str
    version: int  # the newest
    checkpoint: str  # of the newest version
    versions: list[ModelVersion]  # newest first
    aliases: Mapping[str, int] = {}
    findings: list[Finding] = []  # about the newest version's statistics
    created_at: Time
