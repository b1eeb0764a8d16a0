"""What running statistics were over the steps of a run: one point per checkpoint that it trained.

Revisions are no part of it: their statistics are of other rows, not of another step.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, null, select

from core.checkpoints import Checkpoint
from core.tables import checkpoints

MAX_POINTS = 500
MOST_LAYERS = 10_000  # of all points together: six megabytes as JSON


@dataclass(frozen=True)
class Point:
    """A checkpoint's running, batch and population statistics in brief."""

    checkpoint_id: str
    step: int  # optimizer steps done
    values: dict[str, Any]  # as its record has them


@dataclass(frozen=True)
class History:
    """Points by ascending step, evenly chosen where there are too many."""

    points: list[Point]
    of: int  # how many there are

    @property
    def is_sampled(self) -> bool:
        """Whether points were left out."""
        return len(self.points) < self.of


def of_run(connection: Connection, run_id: str, max_points: int = MAX_POINTS) -> History:
    """The history of a run, its first and last point among those chosen.

    Args:
        max_points: at least 2. Of a network with many norm layers there are fewer.
    """
    return _read(connection, checkpoints.c.run_id == run_id, max_points)


def until(connection: Connection, checkpoint: Checkpoint, max_points: int = MAX_POINTS) -> History:
    """The history of a checkpoint's run up to its own step.

    What was trained elsewhere has its own point alone, where it has one; a revision has the
    history of its original.
    """
    wanted = checkpoints.c.id == (checkpoint.revision_of or checkpoint.id)
    if checkpoint.run_id is not None:
        wanted = checkpoints.c.run_id == checkpoint.run_id
        wanted &= checkpoints.c.step <= checkpoint.step
    return _read(connection, wanted, max_points)


def _read(connection: Connection, wanted: ColumnElement[bool], max_points: int) -> History:
    is_point = checkpoints.c.revision_of.is_(None) & checkpoints.c.history.is_not(null())
    wanted = wanted & is_point
    counts = select(func.count(), func.max(checkpoints.c.norm_layers)).where(wanted)
    of, layers = connection.execute(counts).one()
    max_points = max(2, min(max_points, MOST_LAYERS // max(1, layers or 0)))
    order = (checkpoints.c.step, checkpoints.c.id)
    place = (func.row_number().over(order_by=order) - 1).label("place")
    columns = (checkpoints.c.id, checkpoints.c.step, checkpoints.c.history, place)
    rows = select(*columns).where(wanted).subquery()
    query = select(rows).order_by(rows.c.place)
    if of > max_points:
        # Bresenham's line: exactly max_points places, evenly apart, the first and last among them.
        query = query.where((rows.c.place * (max_points - 1)) % (of - 1) < max_points - 1)
    found = connection.execute(query)
    return History([Point(row.id, row.step, row.history) for row in found], of)
