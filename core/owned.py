"""The compare-and-set of a run's owner: on (id, epoch) while the run is owned, or fenced."""

from typing import Any

from sqlalchemy import Connection, Row
from sqlalchemy.sql.elements import ColumnElement

from core import leases
from core.errors import Fenced, RunNotFound
from core.moves import Told, change, locked
from core.record import Run
from core.states import OWNED, State
from core.tables import runs


def is_owned(run_id: str, epoch: int) -> ColumnElement[bool]:
    """The condition that every write of an owner carries."""
    return leases.is_owned(runs, run_id, epoch)


def owned_update(
    connection: Connection,
    run_id: str,
    epoch: int,
    values: dict[str, Any],
    condition: ColumnElement[bool] | None = None,
) -> Row[Any]:
    """Set `values` on an owned run; the row returned has `state` and `last_seq`.

    Args:
        condition: what else must hold.

    Raises:
        Fenced: the claim is over, or the condition does not hold.
    """
    returning = (runs.c.state, runs.c.last_seq)
    return leases.owned_update(connection, runs, run_id, epoch, values, returning, condition)


def keep(connection: Connection, run_id: str, epoch: int, values: dict[str, Any]) -> State:
    """Set `values` on an owned run and return its state.

    Raises:
        Fenced: the claim is over.
    """
    return State(owned_update(connection, run_id, epoch, values).state)


def locked_owned(connection: Connection, run_id: str, epoch: int) -> Run:
    """An owned run, which nobody else changes until this transaction ends.

    Raises:
        Fenced: the claim is over.
    """
    try:
        run = locked(connection, run_id)
    except RunNotFound as error:
        raise Fenced(run_id, epoch) from error
    if run.epoch != epoch or run.state not in OWNED:
        raise Fenced(run_id, epoch)
    return run


def let_go(
    connection: Connection, run_id: str, epoch: int, values: dict[str, Any], told: Told
) -> Run:
    """Move an owned run to a state without an owner, and append the event of that.

    Raises:
        Fenced: the claim is over.
    """
    run = change(connection, is_owned(run_id, epoch), values, told)
    if run is None:
        raise Fenced(run_id, epoch)
    return run
