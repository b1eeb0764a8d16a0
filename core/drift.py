"""What each API process has last said of the drift windows of models that it answers for.

A process sees the requests that come to it, and no others. It alone writes its rows, and takes
them away when it ends. What a dead one leaves is forgotten after a while, and rows go with the
version that they are about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, tuple_, update

from core.clock import lease_now
from core.tables import drift_states, model_versions

FORGET_SECONDS = 300.0  # after the last word of a process, which has one a minute

Key = tuple[str, int]  # name of a model and number of a version


@dataclass(frozen=True)
class Said:
    """One process's word on one version."""

    process: str
    state: dict[str, Any]


def put(connection: Connection, process: str, states: Mapping[Key, dict[str, Any]]) -> set[Key]:
    """Say what the windows of a process hold now, and forget the dead.

    Returns:
        The versions that have been deleted, of which nothing is kept.
    """
    at = lease_now(connection)
    connection.execute(delete(drift_states).where(drift_states.c.beat_at < at - FORGET_SECONDS))
    known = _held(connection, states)
    for model, version in known:
        row = {"model": model, "version": version, "process": process}
        values = {"state": states[model, version], "beat_at": at}
        its = (drift_states.c[name] == value for name, value in row.items())
        if connection.execute(update(drift_states).where(*its).values(values)).rowcount == 0:
            connection.execute(insert(drift_states), row | values)
    return set(states) - set(known)


def of_version(connection: Connection, model: str, version: int) -> list[Said]:
    """What every process that is not forgotten has said of a version, by process."""
    since = lease_now(connection) - FORGET_SECONDS
    table = drift_states
    its = (table.c.model == model) & (table.c.version == version) & (table.c.beat_at >= since)
    query = select(table.c.process, table.c.state).where(its).order_by(table.c.process)
    return [Said(row.process, row.state) for row in connection.execute(query)]


def remove(connection: Connection, process: str) -> None:
    """Take back what a process has said, because it ends."""
    connection.execute(delete(drift_states).where(drift_states.c.process == process))


def _held(connection: Connection, states: Mapping[Key, dict[str, Any]]) -> list[Key]:
    """Those versions that exist; none of them is deleted before this transaction ends."""
    key = (model_versions.c.model, model_versions.c.version)
    query = select(*key).where(tuple_(*key).in_(sorted(states))).order_by(*key)
    rows = connection.execute(query.with_for_update(read=True, key_share=True))
    return [(row.model, row.version) for row in rows]
