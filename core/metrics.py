"""Metric points of a run: written in batches, summed up for its resource, read down-sampled.

A value that is not finite is stored as null beside the word for it, for neither JSON nor
SQLite can hold it; `nan`, `inf` and `-inf` are those words.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, text

from core.tables import points

MAX_POINTS = 2_000  # of one series in one answer, unless told otherwise

# A point that is already there was written by an owner that died: the new one is as true.
_UPSERT = text(
    "INSERT INTO points (run_id, name, step, value, not_finite)"
    " VALUES (:run_id, :name, :step, :value, :not_finite)"
    " ON CONFLICT (run_id, name, step)"
    " DO UPDATE SET value = excluded.value, not_finite = excluded.not_finite"
)


@dataclass(frozen=True)
class Point:
    """One value of one metric after so many optimizer steps."""

    name: str  # train_loss, test_accuracy, …
    step: int
    value: float


@dataclass(frozen=True)
class Series:
    """One metric over the steps of a run."""

    steps: list[int]
    values: list[float | None]  # null where not finite
    not_finite: list[str | None]  # nan, inf or -inf there, else null
    sampled: bool  # whether points were left out
    of: int  # how many points there are


def add(connection: Connection, run_id: str, new: Sequence[Point]) -> None:
    """Write points; one with the same name and step is replaced."""
    if new:
        connection.execute(_UPSERT, [_row(run_id, point) for point in new])


def delete_beyond(connection: Connection, run_id: str, step: int) -> int:
    """Delete the points after `step` and return how many there were."""
    beyond = delete(points).where(points.c.run_id == run_id, points.c.step > step)
    return connection.execute(beyond).rowcount


def summed(summary: dict[str, dict[str, Any]], new: Iterable[Point]) -> dict[str, dict[str, Any]]:
    """The summary of a run after more points.

    Args:
        summary: {name: {last, best, step}}, with `last_not_finite` beside a null `last`.

    Returns:
        The same for old and new points: `best` is the lowest loss, the highest accuracy, the
        `last` of anything else, and null where there is no finite one; `step` is that of `last`.
    """
    after = dict(summary)
    for point in new:
        after[point.name] = _entry(point, after.get(point.name, {}).get("best"))
    return after


def summary(connection: Connection, run_id: str) -> dict[str, dict[str, Any]]:
    """The summary of all points of a run, computed from its rows."""
    best = _best(connection, run_id)
    newest = (
        select(points.c.name, func.max(points.c.step).label("step"))
        .where(points.c.run_id == run_id)
        .group_by(points.c.name)
        .subquery()
    )
    last = select(points).join(
        newest, (points.c.name == newest.c.name) & (points.c.step == newest.c.step)
    )
    rows = connection.execute(last.where(points.c.run_id == run_id))
    return {row.name: _entry(_point(row), best[row.name]) for row in rows}


def series(
    connection: Connection,
    run_id: str,
    names: Sequence[str] | None = None,
    from_step: int = 0,
    max_points: int = MAX_POINTS,
) -> dict[str, Series]:
    """The metrics of a run by name, each with its first and last point and evenly between.

    Args:
        names: which; None means all. One without points is left out.
        from_step: the first step wanted.
        max_points: of one series, at least 2.
    """
    wanted = (points.c.run_id == run_id) & (points.c.step >= from_step)
    if names is not None:
        wanted &= points.c.name.in_(names)
    counted = select(points.c.name, func.count()).where(wanted).group_by(points.c.name)
    totals = {name: int(count) for name, count in connection.execute(counted)}
    return {
        name: _sampled(connection, wanted & (points.c.name == name), total, max_points)
        for name, total in sorted(totals.items())
    }


def _sampled(connection: Connection, wanted: Any, total: int, max_points: int) -> Series:
    place = (func.row_number().over(order_by=points.c.step) - 1).label("place")
    numbered = select(points.c.step, points.c.value, points.c.not_finite, place).where(wanted)
    rows = numbered.subquery()
    query = select(rows).order_by(rows.c.step)
    sampled = total > max_points
    if sampled:
        # Bresenham's line: exactly max_points places, evenly apart, the first and last among them.
        query = query.where((rows.c.place * (max_points - 1)) % (total - 1) < max_points - 1)
    found = connection.execute(query).all()
    return Series(
        steps=[row.step for row in found],
        values=[row.value for row in found],
        not_finite=[row.not_finite for row in found],
        sampled=sampled,
        of=total,
    )


def _row(run_id: str, point: Point) -> dict[str, Any]:
    value, word = _split(point.value)
    key = {"run_id": run_id, "name": point.name, "step": point.step}
    return key | {"value": value, "not_finite": word}


def _split(value: float) -> tuple[float | None, str | None]:
    """A finite value and no word for it, or no value and the word."""
    if math.isfinite(value):
        return value, None
    return None, "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _point(row: Row[Any]) -> Point:
    return Point(row.name, row.step, row.value if row.not_finite is None else float(row.not_finite))


def _entry(point: Point, best: float | None) -> dict[str, Any]:
    last, word = _split(point.value)
    entry: dict[str, Any] = {"last": last, "best": _better(point.name, best, last)}
    entry["step"] = point.step
    return entry | ({"last_not_finite": word} if word else {})


def _better(name: str, best: float | None, new: float | None) -> float | None:
    finite = [value for value in (best, new) if value is not None]
    if name.endswith("loss"):
        return min(finite, default=None)
    return max(finite, default=None) if name.endswith("accuracy") else new


def _best(connection: Connection, run_id: str) -> dict[str, float | None]:
    extremes = select(points.c.name, func.min(points.c.value), func.max(points.c.value))
    rows = connection.execute(extremes.where(points.c.run_id == run_id).group_by(points.c.name))
    return {name: low if name.endswith("loss") else high for name, low, high in rows}
