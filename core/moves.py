"""How a run's row changes: one compare-and-set that also writes the event that tells of it.

Every state change of a run goes through `change`, and an experiment follows its runs in the same
transaction. It knows nothing of who may ask.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.sql.elements import ColumnElement

from core import experiment_moves, leases
from core.errors import RunNotFound
from core.events import NewEvent, record
from core.ids import is_id
from core.record import Run, from_row
from core.tables import runs

Told = Callable[[Run], NewEvent]

NO_OWNER = leases.NO_OWNER | {"steps_per_second": None}


def locked(connection: Connection, run_id: str) -> Run:
    """The run, which nobody else changes until this transaction ends.

    Raises:
        RunNotFound: no such run.
    """
    if not is_id("run", run_id):
        raise RunNotFound()
    found = connection.execute(select(runs).where(runs.c.id == run_id).with_for_update())
    row = found.one_or_none()
    if row is None:
        raise RunNotFound()
    return from_row(row)


def change(
    connection: Connection, condition: ColumnElement[bool], values: dict[str, Any], told: Told
) -> Run | None:
    """Set `values` on the one run that meets `condition`, and append its event.

    Args:
        told: the event, made from the run as it is afterwards.

    Returns:
        The run as it is afterwards; None where the condition does not hold any more.
    """
    statement = update(runs).where(condition).values(last_seq=runs.c.last_seq + 1, **values)
    row: Row[Any] | None = connection.execute(statement.returning(*runs.c)).one_or_none()
    if row is None:
        return None
    run = from_row(row)
    record(connection, run.id, run.last_seq, told(run))
    if run.experiment_id is not None and "state" in values:
        experiment_moves.follow(connection, run)
    return run
