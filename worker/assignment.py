"""What a child is told when it starts: plain values, everything local to its machine."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Seconds, from the settings."""

    heartbeat: float  # between signs of life
    self_fence: float  # age of the last renewal at which the trainer ends itself
    resume: float  # between points saved only to resume from
    metrics: float  # between commits of metric points
    stall: float  # without a step, after which no sign of life is given


@dataclass(frozen=True)
class ResumeFiles:
    """Local copies of the two files of a resume point."""

    checkpoint: str
    checkpoint_sha256: str
    state: str
    state_sha256: str


@dataclass(frozen=True)
class Assignment:
    """One claim of one run, for one trainer process."""

    run: str  # id
    epoch: int  # the claim's fencing token
    spec: dict[str, Any]
    dataset: str  # local folder of the dataset
    device: str  # cpu or cuda
    visible_device: str | None  # the one CUDA device this trainer may see
    timing: Timing
    settings: dict[str, Any]  # of the file store
    resume: ResumeFiles | None

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` turns back into an equal assignment."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Assignment":
        """The assignment that `to_json` wrote."""
        resume = ResumeFiles(**data["resume"]) if data["resume"] else None
        return cls(**{**data, "timing": Timing(**data["timing"]), "resume": resume})


@dataclass(frozen=True)
class CheckpointFiles:
    """Local copies of what a checkpoint is made of."""

    weights: str
    statistics: str | None  # of a revision, alone
    sha256: str  # of the whole


@dataclass(frozen=True)
class OperationAssignment:
    """One claim of one operation, for one child process."""

    operation: str  # id
    epoch: int  # the claim's fencing token
    kind: str
    params: dict[str, Any]
    checkpoint: CheckpointFiles
    donor: CheckpointFiles | None  # whose statistics are wanted
    home: str | None  # local folder of the dataset that the checkpoint was trained on
    dataset: str | None  # id of the dataset whose rows are read
    rows_folder: str | None  # of that dataset
    rows_file: str | None  # .npy of rows that came with the request
    statistics_key: str  # where what it makes goes
    device: str  # cpu or cuda
    visible_device: str | None  # the one CUDA device this child may see
    threads: int
    timing: Timing
    settings: dict[str, Any]  # of the file store

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` turns back into an equal assignment."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "OperationAssignment":
        """The assignment that `to_json` wrote."""
        donor = CheckpointFiles(**data["donor"]) if data["donor"] else None
        checkpoint, timing = CheckpointFiles(**data["checkpoint"]), Timing(**data["timing"])
        return cls(**{**data, "timing": timing, "checkpoint": checkpoint, "donor": donor})


@dataclass(frozen=True)
class ReportAssignment:
    """One claim of an experiment's report, for one child process."""

    operation: str  # id
    epoch: int  # the claim's fencing token
    experiment: str  # id
    kind: str  # of the experiment
    params: dict[str, Any]
    seeds: list[int]
    runs: str  # file with a line of JSON for each run
    prefix: str  # of the store, below which its files go
    threads: int
    timing: Timing
    settings: dict[str, Any]  # of the file store

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` turns back into an equal assignment."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ReportAssignment":
        """The assignment that `to_json` wrote."""
        return cls(**{**data, "timing": Timing(**data["timing"])})
