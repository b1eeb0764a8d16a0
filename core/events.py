"""The append-only log of a run: every change of state, and what happened in between.

An event is written in the transaction of what it tells, and its number comes from the run's
row, so that the log of one run has no gap and no two readings. Exactly one event of a run is
terminal, because the states are.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, insert, select, update

from core.clock import now
from core.errors import RunNotFound
from core.states import ENDED
from core.tables import events, runs

Level = Literal["info", "warning", "error"]
TERMINAL = frozenset(state.value for state in ENDED)  # types after which nothing follows


@dataclass(frozen=True)
class NewEvent:
    """What happened, before it has a number and a time."""

    type: str  # stable word: queued, started, resumed, pausing, paused, checkpoint, metrics, …
    message: str  # a sentence for people
    level: Level = "info"
    data: dict[str, Any] = field(default_factory=dict)  # JSON-ready; no number that is not finite


@dataclass(frozen=True)
class Event:
    """One line of a run's log."""

    seq: int  # 1, 2, … within the run
    at: float  # seconds since 1970
    level: str
    type: str
    message: str
    data: dict[str, Any]

    @property
    def terminal(self) -> bool:
        """Whether it is the run's last."""
        return self.type in TERMINAL


_NEXT = (
    update(runs)
    .where(runs.c.id == bindparam("run"))
    .values(last_seq=runs.c.last_seq + 1)
    .returning(runs.c.last_seq)
)
_INSERT = insert(events)
_AFTER = (
    select(events)
    .where(events.c.run_id == bindparam("run"), events.c.seq > bindparam("seq_before"))
    .order_by(events.c.seq)
    .limit(bindparam("most"))
)


def append(connection: Connection, run_id: str, event: NewEvent) -> int:
    """Add an event to a run's log and return its number.

    Raises:
        RunNotFound: no such run.
    """
    seq = connection.execute(_NEXT, {"run": run_id}).scalar()
    if seq is None:
        raise RunNotFound()
    record(connection, run_id, seq, event)
    return int(seq)


def record(connection: Connection, run_id: str, seq: int, event: NewEvent) -> None:
    """Write an event under a number that an update of the run's row has just given out."""
    values = {"run_id": run_id, "seq": seq, "at": now(connection), "level": event.level}
    told = {"type": event.type, "message": event.message, "data": event.data}
    connection.execute(_INSERT, values | told)


def after(connection: Connection, run_id: str, seq: int, limit: int = 100) -> list[Event]:
    """The events of a run whose number is above `seq`, oldest first; 0 begins at the start."""
    rows = connection.execute(_AFTER, {"run": run_id, "seq_before": seq, "most": limit})
    return [Event(r.seq, r.at, r.level, r.type, r.message, r.data) for r in rows]
