"""Everything that an experiment's report reads of one run: each point, probe and checkpoint."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from core import checkpoints as checkpoint_records
from core.checkpoints import Checkpoint
from core.tables import checkpoints, measurements, points

Series = tuple[list[int], list[float | str]]  # steps, and values; nan, inf and -inf as words


@dataclass(frozen=True)
class LeftBehind:
    """What one run has left in the records."""

    series: Mapping[str, Series]  # every point of every metric, ascending steps
    measured: Mapping[str, Sequence[tuple[int, Any]]]  # step and data by the measure's kind
    checkpoints: Sequence[Checkpoint]  # ascending steps; the run's own is the last


def of_run(connection: Connection, run_id: str, own: str | None) -> LeftBehind:
    """All of it, not sampled.

    How fast a run was is left out: it is not the same twice.

    Args:
        own: the id of the run's own checkpoint.
    """
    return LeftBehind(
        _series(connection, run_id),
        _measured(connection, run_id),
        _trained(connection, run_id, own),
    )


def _series(connection: Connection, run_id: str) -> dict[str, Series]:
    columns = (points.c.name, points.c.step, points.c.value, points.c.not_finite)
    wanted = (points.c.run_id == run_id) & (points.c.name != "steps_per_second")
    query = select(*columns).where(wanted).order_by(points.c.name, points.c.step)
    found: dict[str, Series] = defaultdict(lambda: ([], []))
    for row in connection.execute(query):
        steps, values = found[row.name]
        steps.append(row.step)
        values.append(row.value if row.not_finite is None else row.not_finite)
    return dict(found)


def _measured(connection: Connection, run_id: str) -> dict[str, list[tuple[int, Any]]]:
    columns = (measurements.c.kind, measurements.c.step, measurements.c.data)
    query = select(*columns).where(measurements.c.run_id == run_id)
    found: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    for row in connection.execute(query.order_by(measurements.c.kind, measurements.c.step)):
        found[row.kind].append((row.step, row.data))
    return dict(found)


def _trained(connection: Connection, run_id: str, own: str | None) -> list[Checkpoint]:
    wanted = (checkpoints.c.run_id == run_id) & checkpoints.c.revision_of.is_(None)
    query = select(checkpoints).where(wanted).order_by(checkpoints.c.step, checkpoints.c.id)
    found = [checkpoint_records.from_row(row) for row in connection.execute(query)]
    return sorted(found, key=lambda one: one.id == own)
