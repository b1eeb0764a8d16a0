"""What the measures of a run have found: one row per probe, read down-sampled."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Subquery, bindparam, delete, func, insert, select

from core.tables import measurements

MAX_POINTS = 200  # of one measure in one answer, unless told otherwise

_DELETE = delete(measurements).where(
    measurements.c.run_id == bindparam("its_run"),
    measurements.c.kind == bindparam("its_kind"),
    measurements.c.step == bindparam("its_step"),
)


@dataclass(frozen=True)
class Measurement:
    """What one probe of one measure found."""

    kind: str  # of the measure
    step: int  # optimizer steps done
    data: Mapping[str, Any]  # JSON, null where a number is not finite


@dataclass(frozen=True)
class Measurements:
    """One measure over the steps of a run."""

    steps: list[int]
    values: list[dict[str, Any]]
    sampled: bool  # whether probes were left out
    of: int  # how many there are


@dataclass(frozen=True)
class Wanted:
    """Which measurements of a run: of each measure the first and last, and evenly between."""

    run_id: str
    kinds: Sequence[str] | None = None  # None: all
    from_step: int = 0
    max_points: int = MAX_POINTS  # of one measure, at least 2


def add(connection: Connection, run_id: str, new: Sequence[Measurement]) -> None:
    """Write measurements; one of the same kind and step is replaced."""
    if not new:
        return
    # What is already there was written by an owner that died: the new one is as true.
    keys = [{"its_run": run_id, "its_kind": one.kind, "its_step": one.step} for one in new]
    connection.execute(_DELETE, keys)
    connection.execute(insert(measurements), [_row(run_id, one) for one in new])


def delete_beyond(connection: Connection, run_id: str, step: int) -> int:
    """Delete the measurements after `step` and return how many there were."""
    its = measurements.c.run_id == run_id
    return connection.execute(delete(measurements).where(its, measurements.c.step > step)).rowcount


def bytes_of(connection: Connection, wanted: Wanted) -> int:
    """How much JSON `read` would return."""
    chosen = _chosen(wanted)
    return int(connection.execute(select(func.coalesce(func.sum(chosen.c.bytes), 0))).scalar_one())


def read(connection: Connection, wanted: Wanted) -> dict[str, Measurements]:
    """The measurements by kind; a measure without any is left out."""
    chosen = _chosen(wanted)
    same = (measurements.c.kind == chosen.c.kind) & (measurements.c.step == chosen.c.step)
    query = (
        select(chosen.c.kind, chosen.c.step, chosen.c.of, measurements.c.data)
        .join(chosen, same & (measurements.c.run_id == wanted.run_id))
        .order_by(chosen.c.kind, chosen.c.step)
    )
    rows = defaultdict[str, list[Any]](list)
    for row in connection.execute(query):
        rows[row.kind].append(row)
    return {kind: _measurements(found) for kind, found in rows.items()}


def _chosen(wanted: Wanted) -> Subquery:
    """Kind, step, bytes and the number there are of each measurement that is chosen."""
    table = measurements.c
    its = (table.run_id == wanted.run_id) & (table.step >= wanted.from_step)
    if wanted.kinds is not None:
        its &= table.kind.in_(wanted.kinds)
    number = func.row_number().over(partition_by=table.kind, order_by=table.step)
    place, of = (number - 1).label("place"), func.count().over(partition_by=table.kind).label("of")
    every = select(table.kind, table.step, table.bytes, place, of).where(its).subquery()
    # Bresenham's line: exactly max_points places, evenly apart, the first and last among them.
    most = wanted.max_points
    is_chosen = (every.c.place * (most - 1)) % func.nullif(every.c.of - 1, 0) < most - 1
    return select(every).where((every.c.of <= most) | is_chosen).subquery()


def _measurements(rows: Sequence[Any]) -> Measurements:
    of = rows[0].of
    steps, values = [row.step for row in rows], [row.data for row in rows]
    return Measurements(steps, values, len(rows) < of, of)


def _row(run_id: str, one: Measurement) -> dict[str, Any]:
    size = len(json.dumps(dict(one.data), allow_nan=False))
    key = {"run_id": run_id, "kind": one.kind, "step": one.step}
    return key | {"data": dict(one.data), "bytes": size}
