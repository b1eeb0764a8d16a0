"""What the runs of an experiment have left behind, as its report reads it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from model.checkpoint import Loaded, load
from model.data.dataset import Dataset
from model.data.dataset import load as load_dataset
from model.plan import Checked, Limits, check
from model.spec import RunSpec
from model.training.arrays import Arrays, prepare
from model.training.loop import Training

CPU = torch.device("cpu")
NO_LIMITS = Limits(max_parameters=2**63, max_memory_bytes=2**63)  # the API's were checked


@dataclass(frozen=True)
class Series:
    """One metric over the steps of a run; a value may be infinite or NaN."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Measured:
    """What one probe of one measure found; numbers that are not finite are null."""

    step: int  # optimizer steps done
    data: Mapping[str, Any]


@dataclass(frozen=True)
class CheckpointAt:
    """A checkpoint of a run, on this machine."""

    step: int
    path: str
    sha256: str
    metrics: Mapping[str, float | None]


@dataclass(frozen=True)
class RunResult:
    """One run of the experiment after its end."""

    arm: str
    seed: int
    spec: RunSpec
    state: Literal["succeeded", "failed", "cancelled"]
    outcome: Literal["completed", "diverged"] | None  # None unless it succeeded
    why: str | None  # it failed, in words
    step: int  # optimizer steps done
    dataset: str  # local folder
    series: Mapping[str, Series]  # every point of every metric
    measured: Mapping[str, tuple[Measured, ...]]  # by the measure's kind, ascending steps
    checkpoints: tuple[CheckpointAt, ...]  # ascending steps; the last is the run's own

    @property
    def has_diverged(self) -> bool:
        """Whether its loss or its network was not finite at some step."""
        return self.outcome == "diverged"

    @property
    def counts(self) -> bool:
        """Whether it trained to an end of its own: a failed or cancelled run says nothing."""
        return self.state == "succeeded"

    def last(self, name: str) -> float | None:
        """The last value of a metric; None where it has none."""
        found = self.series.get(name)
        return found.values[-1] if found is not None and found.values else None

    def first_step(self, name: str, at_least: float) -> int | None:
        """The first step at which a metric was at least so much; None: never."""
        found = self.series.get(name, Series((), ()))
        pairs = zip(found.steps, found.values, strict=True)
        return next((step for step, value in pairs if value >= at_least), None)


@dataclass(frozen=True)
class Start:
    """A run before its first step: the same network, rows and order as it had."""

    checked: Checked
    arrays: Arrays
    training: Training  # at step 0, in training mode, on the CPU

    @property
    def network(self) -> nn.Module:
        """The network as initialized."""
        return self.training.network


@dataclass(frozen=True)
class Results:
    """All runs of one experiment, in the order of its plan.

    Args:
        moved: to be called now and then by whatever takes long: its process is alive.
        seeds: as asked for; of an experiment without runs they are all that it has.
    """

    runs: tuple[RunResult, ...]
    moved: Callable[[], None] = lambda: None
    seeds: tuple[int, ...] = ()

    def of(self, arm: str) -> tuple[RunResult, ...]:
        """The runs of one arm that count, by seed."""
        found = (run for run in self.runs if run.arm == arm and run.counts)
        return tuple(sorted(found, key=lambda run: run.seed))

    def run(self, arm: str, seed: int) -> RunResult | None:
        """The run of one arm on one seed; None where it is not there or does not count."""
        return next((run for run in self.of(arm) if run.seed == seed), None)

    @property
    def planned_seeds(self) -> list[int]:
        """Every seed of which a run was planned, ascending."""
        return sorted({run.seed for run in self.runs})

    def pairs(self, first: str, second: str) -> Iterator[tuple[RunResult, RunResult]]:
        """The runs of two arms that have the same seed, both of which count."""
        others = {run.seed: run for run in self.of(second)}
        return ((run, others[run.seed]) for run in self.of(first) if run.seed in others)

    def dataset(self, run: RunResult) -> Dataset:
        """The rows that a run was given, mapped into memory."""
        self.moved()
        return _dataset(run.dataset)

    def start(self, run: RunResult) -> Start:
        """A run as it was before its first step, made anew from its spec and rows."""
        dataset = self.dataset(run)
        checked = check(run.spec, dataset.facts, NO_LIMITS)
        arrays = prepare(dataset, checked.spec, CPU)
        return Start(checked, arrays, Training(checked, arrays, CPU))

    def trained(self, run: RunResult, step: int | None = None) -> Loaded | None:
        """A run's network as it was saved; None where it has no such checkpoint.

        Args:
            step: optimizer steps done; None: the last one saved.
        """
        self.moved()
        found = [one for one in run.checkpoints if step is None or one.step == step]
        return load(Path(found[-1].path), found[-1].sha256) if found else None


@cache
def _dataset(folder: str) -> Dataset:
    return load_dataset(Path(folder))
