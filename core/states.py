"""The states of a run and the only moves between them."""

from enum import StrEnum


class State(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"  # accepted; waits for a slot
    RUNNING = "running"  # owned by a worker with a live lease
    PAUSING = "pausing"  # asked to pause; the owner saves its resume point
    PAUSED = "paused"  # owned by nobody; resumes where it stopped
    STOPPING = "stopping"  # asked to cancel; the owner is ending
    SUCCEEDED = "succeeded"  # trained to its end, or diverged: both are results
    FAILED = "failed"  # could not be trained; `error` says whose fault
    CANCELLED = "cancelled"  # ended on request


class Outcome(StrEnum):
    """How a succeeded run ended."""

    COMPLETED = "completed"
    DIVERGED = "diverged"


MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.PAUSED, State.CANCELLED}),
    State.RUNNING: frozenset(
        {State.SUCCEEDED, State.FAILED, State.PAUSING, State.STOPPING, State.QUEUED}
    ),
    State.PAUSING: frozenset({State.PAUSED, State.STOPPING, State.SUCCEEDED, State.FAILED}),
    State.STOPPING: frozenset({State.CANCELLED, State.FAILED}),
    State.PAUSED: frozenset({State.QUEUED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

OWNED = frozenset({State.RUNNING, State.PAUSING, State.STOPPING})
ENDED = frozenset(state for state, moves in MOVES.items() if not moves)


def sources(target: State) -> frozenset[State]:
    """The states from which `target` can be reached in one move."""
    return frozenset(state for state, moves in MOVES.items() if target in moves)
