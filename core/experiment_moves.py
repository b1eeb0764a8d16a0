"""How an experiment's row changes: with its runs and with its report.

It begins when its first run does. The end of its last run queues the operation that makes the
report, in the same transaction, and the end of that operation is the experiment's own. Its
cancellation is its users', and in `core.experiments`.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from core import operations
from core.clock import now
from core.ids import new_id
from core.leases import ANY
from core.operations import NewOperation
from core.record import Run
from core.states import ENDED, State
from core.tables import experiments, runs

REPORT = "report"  # kind of the operation
_GOING_ON = experiments.c.state.in_([State.QUEUED.value, State.RUNNING.value])
_UNENDED = runs.c.state.not_in([state.value for state in ENDED])


@dataclass(frozen=True)
class NewReport:
    """A report whose files lie in the store."""

    summary: dict[str, Any]  # claim, verdict, effect and the names of what there is; JSON-ready
    prefix: str  # of its files
    files: dict[str, str]  # {name below the prefix: sha256 in hex}


def follow(connection: Connection, run: Run) -> None:
    """Take an experiment along with a run of it that has just changed its state."""
    if run.state is State.RUNNING:
        _begin(connection, str(run.experiment_id))
    elif run.ended and _waits_for_none(connection, str(run.experiment_id)):
        queue_report(connection, str(run.experiment_id))


def queue_report(connection: Connection, experiment_id: str) -> None:
    """Queue the operation that makes an experiment's report; a second one is impossible.

    It is not counted against the limit of the queue: what was accepted gets its report. Every
    worker may make it, or a service with GPU workers alone would make none.
    """
    new = NewOperation(REPORT, {}, device=ANY, experiment_id=experiment_id)
    operations.insert_one(connection, new_id("op"), new)


def reported(connection: Connection, experiment_id: str, new: NewReport) -> None:
    """End an experiment with its report; finish the operation in the same transaction."""
    values = {"state": State.SUCCEEDED.value, **vars(new)}
    _end(connection, experiment_id, values)


def fail(connection: Connection, experiment_id: str, error: dict[str, str]) -> None:
    """End an experiment whose report cannot be made.

    Args:
        error: cause (user, infra or code), reason (stable UPPER_SNAKE) and message.
    """
    _end(connection, experiment_id, {"state": State.FAILED.value, "error": error})


def _begin(connection: Connection, experiment_id: str) -> None:
    waits = (experiments.c.id == experiment_id) & (experiments.c.state == State.QUEUED.value)
    begun = {"state": State.RUNNING.value, "started_at": now(connection)}
    connection.execute(update(experiments).where(waits).values(**begun))


def _waits_for_none(connection: Connection, experiment_id: str) -> bool:
    """Whether an experiment that goes on has no run left; of two runs that end, one sees it."""
    # The lock comes first: without it, each of the two could see the other one unended.
    lock = select(experiments.c.id).where(experiments.c.id == experiment_id, _GOING_ON)
    if connection.execute(lock.with_for_update()).scalar() is None:
        return False
    left = select(func.count()).where(runs.c.experiment_id == experiment_id, _UNENDED)
    return connection.execute(left).scalar_one() == 0


def _end(connection: Connection, experiment_id: str, values: dict[str, Any]) -> None:
    at = now(connection)
    ended = values | {"finished_at": at, "started_at": func.coalesce(experiments.c.started_at, at)}
    wanted = (experiments.c.id == experiment_id) & _GOING_ON
    connection.execute(update(experiments).where(wanted).values(**ended))
