"""What a training tells at its control points: points, snapshots, and how it ended."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from model.training.guard import Restored
from model.training.observer import Measured
from model.training.resume import Keep, Tensors


@dataclass(frozen=True)
class Point:
    """One value of a metric series; the value may be infinite or NaN."""

    name: str
    step: int
    value: float


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint holds: the network's tensors after `step` steps, copied, on the CPU."""

    step: int
    tensors: Tensors
    batches: int  # that its running statistics hold: those of all steps but what was taken back


@dataclass(frozen=True)
class Happening:
    """A control point: everything that happened since the last, which may be nothing.

    One value, because whoever stops between two happenings must have seen all of the first.
    """

    step: int  # optimizer steps done
    points: tuple[Point, ...] = ()
    evaluated: bool = False
    snapshot: Snapshot | None = None  # a checkpoint that `checkpoint_every` asked for
    ended: Literal["completed", "diverged"] | None = None
    kept: Snapshot | None = None  # at the end: what the run's checkpoint holds
    restored: tuple[Restored, ...] = ()  # steps whose batch the running statistics forgot
    measured: tuple[Measured, ...] = ()  # their values are among the points


def snapshot_of(keep: Keep, updates: int) -> Snapshot:
    """What was kept of an earlier step, as a checkpoint holds it.

    Args:
        updates: times that the steps until then moved each running statistic.
    """
    return Snapshot(keep.step, keep.tensors, updates - keep.forgotten)


def with_measured(happening: Happening, found: Sequence[Measured]) -> Happening:
    """A happening and what was measured since the one before.

    How soon a divergence is seen hangs on the clock, so what was measured since is dropped:
    a run that diverges at a step has the readings of all steps before it, and no other.
    """
    if happening.ended == "diverged":
        found = [one for one in found if one.step < happening.step]
    if not found:
        return happening
    points = (Point(name, one.step, value) for one in found for name, value in one.values.items())
    return replace(happening, points=(*happening.points, *points), measured=tuple(found))
