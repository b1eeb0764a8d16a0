"""What a trainer is told when it starts: plain values, everything local to its machine."""

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
