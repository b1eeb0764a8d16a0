"""A run as read from its row. It knows the columns and no query."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from core.states import ENDED, Outcome, State


@dataclass(frozen=True)
class ResumePoint:
    """Two files from which training goes on exactly as if it had not stopped."""

    step: int  # optimizer steps done
    checkpoint_key: str  # parameters and running statistics
    checkpoint_sha256: str
    resume_key: str  # optimizer, generators, position in the epoch
    resume_sha256: str


@dataclass(frozen=True)
class Run:
    """Everything that is known of a run. Times are seconds since 1970."""

    id: str
    name: str | None
    state: State
    outcome: Outcome | None  # once succeeded
    spec: dict[str, Any]  # as asked, with its defaults filled in
    spec_hash: str
    dataset_id: str
    device: str  # auto, cpu or cuda, as asked
    threads: int
    labels: dict[str, str]
    experiment_id: str | None  # that planned it, while that is there
    findings: list[dict[str, Any]]  # of the submission
    steps: int  # optimizer steps asked for
    step: int  # optimizer steps done
    steps_per_second: float | None
    progress_at: float | None
    metrics: dict[str, dict[str, Any]]  # {name: {last, best, step}}; see core.metrics
    checkpoint_id: str | None  # the newest one that the spec asked for
    error: dict[str, Any] | None  # {cause, reason, message}, once failed
    epoch: int  # the fencing token: one more with every claim
    attempts: int  # claims so far
    crashes: int  # owners lost since the resume step last rose
    worker_id: str | None  # the owner; null while nobody owns it
    host: str | None
    pid: int | None  # of the trainer
    pid_start: int | None  # kernel ticks after boot
    worker_device: str | None  # what the present or last owner trains on
    lease_until: float | None  # on the lease clock, not on the wall's
    resume: ResumePoint | None
    last_seq: int  # of its newest event
    created_at: float
    started_at: float | None
    finished_at: float | None

    @property
    def ended(self) -> bool:
        """Whether its state can never change again."""
        return self.state in ENDED

    @property
    def fraction(self) -> float:
        """Share of its steps that is done, 0 to 1."""
        return self.step / self.steps if self.steps else 1.0

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left at the present speed; null unless it trains."""
        if self.state is not State.RUNNING or not self.steps_per_second:
            return None
        return (self.steps - self.step) / self.steps_per_second


_SAME = [
    name
    for name in Run.__dataclass_fields__
    if name not in ("state", "outcome", "resume")  # the three that are more than their column
]


def from_row(row: Row[Any]) -> Run:
    """The run of one whole row of `runs`."""
    return from_columns(dict(row._mapping))


def from_columns(columns: Mapping[str, Any]) -> Run:
    """The run of all columns of `runs`, by name."""
    return Run(
        state=State(columns["state"]),
        outcome=Outcome(columns["outcome"]) if columns["outcome"] else None,
        resume=resume_of(columns),
        **{name: columns[name] for name in _SAME},
    )


def resume_of(columns: Mapping[str, Any]) -> ResumePoint | None:
    """The resume point of a run's columns; None where training starts at step 0."""
    if columns["resume_step"] is None:
        return None
    return ResumePoint(
        columns["resume_step"],
        columns["checkpoint_key"],
        columns["checkpoint_sha256"],
        columns["resume_key"],
        columns["resume_sha256"],
    )
