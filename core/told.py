"""What a run's log says about its owners: the words and the data of each event."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from core.checkpoints import NewCheckpoint
from core.events import NewEvent
from core.record import Run
from core.states import Outcome, State


def claimed(run: Run) -> NewEvent:
    """A run has a new owner: it starts, or goes on where it stood."""
    data = {"worker": run.worker_id, "device": run.worker_device, "epoch": run.epoch}
    data |= {"attempt": run.attempts, "step": run.step}
    if run.attempts == 1:
        return NewEvent("started", f"Trains on {run.worker_device}.", data=data)
    message = f"Trains on {run.worker_device} from step {run.step}."
    return NewEvent("resumed", message, data=data)


def training(step: int, epoch: int, at: float) -> NewEvent:
    """A claim took its first step, at `at` seconds since 1970."""
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    data = {"step": step, "at": when.replace("+00:00", "Z"), "epoch": epoch}
    return NewEvent("training", "It took its first step.", data=data)


def restored(step: int, layers: Sequence[str]) -> NewEvent:
    """The batch of a step was taken back out of the running statistics."""
    message = f"Step {step} left running statistics that are not finite; they forgot its batch."
    data = {"step": step, "layers": list(layers)}
    return NewEvent("statistics_restored", message, "warning", data)


def measured(step: int, steps_per_second: float | None, metrics: dict[str, Any]) -> NewEvent:
    """Metrics have new values; `metrics` is their part of the run's summary."""
    data = {"step": step, "steps_per_second": steps_per_second, "metrics": metrics}
    return NewEvent("metrics", f"Step {step}.", data=data)


def saved(checkpoint_id: str, new: NewCheckpoint) -> NewEvent:
    """A checkpoint is listed."""
    data = {"checkpoint": checkpoint_id, "step": new.step, "sha256": new.sha256}
    data |= {"statistics": new.fingerprint, "metrics": new.metrics}
    return NewEvent("checkpoint", f"Checkpoint at step {new.step}.", data=data)


def differs(listed: str, step: int) -> NewEvent:
    """A step that was trained again gave another file than the one that is listed."""
    message = f"Step {step} gave other bytes than before the interruption; the first ones stay."
    return NewEvent("warning", message, "warning", {"checkpoint": listed, "step": step})


def ended(run: Run, about: dict[str, Any]) -> NewEvent:
    """A run was trained; `run` is what it became."""
    if run.state is State.CANCELLED:
        return NewEvent("cancelled", "Cancelled as its training ended.", data=about)
    word = "Trained to its end." if run.outcome is Outcome.COMPLETED else "Diverged."
    return NewEvent("succeeded", word, data=about)


def failed(error: dict[str, str], about: dict[str, Any]) -> NewEvent:
    """A run cannot be trained."""
    return NewEvent(State.FAILED.value, error["message"], "error", error | about)


def freed(run: Run, about: dict[str, Any]) -> NewEvent:
    """A run's owner let go of it before its end; `run` is what it became."""
    if run.state is State.QUEUED:
        return NewEvent("requeued", "Waits for another owner.", "warning", about)
    word = "Paused." if run.state is State.PAUSED else "Cancelled."
    return NewEvent(run.state.value, word, data=about)
