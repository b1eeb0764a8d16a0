"""Everything that can go wrong with records and files, as one tree; it knows no HTTP codes.

EvalmodeError                  reason, message, and every value the message used
+-- NotFound                   there is nothing under this id
|   +-- RunNotFound
|   +-- DatasetNotFound
|   +-- CheckpointNotFound
|   |   +-- RevisionNotFound   the checkpoint has no revision of this name
|   +-- OperationNotFound
|   +-- ExperimentNotFound
|   +-- ModelNotFound
|   |   +-- ModelVersionNotFound   the model has no such version or alias
|   +-- FileMissing            a key without bytes in the file store
+-- Conflict                   the record exists, but its present state forbids this
|   +-- MoveForbidden          pause, resume or cancel from a state that has no such move
|   +-- RunNotEnded            only an ended run can be deleted
|   +-- RunInUse               an experiment without its report needs it
|   +-- ExperimentNotEnded     only an ended experiment can be deleted
|   +-- ReportNotReady         the experiment has no report, or none yet
|   +-- CheckpointNotReady     the run has no checkpoint yet
|   +-- CheckpointInUse        a model or an operation that has not ended needs it
|   +-- CheckpointOfRun        it goes with its run, and not alone
|   +-- RevisionNameTaken      the checkpoint has another revision of this name
|   +-- DatasetInUse           a run, an operation or an experiment that has not ended reads it
|   +-- DatasetBuiltIn         built-in datasets are always there, under their own names
+-- Fenced                     the caller owns its run or operation no more: stop at once
+-- IdempotencyMismatch        a key that was used with another body
+-- IdempotencyInFlight        a key whose first request has not ended
+-- BadCursor                  `after` names nothing in this list
+-- Unavailable                try again later
    +-- QueueFull              as many runs, or operations, wait as are allowed to
    +-- DatabaseUnavailable    no answer from the database
    +-- StoreUnavailable       no answer from the file store
    +-- DiskLow                too few free bytes to accept work
"""

from typing import Any

from core.states import State


class EvalmodeError(Exception):
    """Base of everything the core refuses.

    Args:
        message: a sentence for the user; never repeats the input itself.
        metadata: every value used in the message, JSON-ready.
    """

    reason = "EVALMODE_ERROR"

    def __init__(self, message: str, **metadata: Any) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata


class NotFound(EvalmodeError):
    """There is nothing under this id."""

    reason = "NOT_FOUND"


class RunNotFound(NotFound):
    """No run has this id."""

    reason = "RUN_NOT_FOUND"

    def __init__(self, message: str = "There is no run with this id.", **metadata: Any) -> None:
        super().__init__(message, **metadata)


class DatasetNotFound(NotFound):
    """No dataset has this id or name."""

    reason = "DATASET_NOT_FOUND"

    def __init__(
        self, message: str = "There is no dataset with this id or name.", **metadata: Any
    ) -> None:
        super().__init__(message, **metadata)


class CheckpointNotFound(NotFound):
    """No checkpoint has this id."""

    reason = "CHECKPOINT_NOT_FOUND"

    def __init__(
        self, message: str = "There is no checkpoint with this id.", **metadata: Any
    ) -> None:
        super().__init__(message, **metadata)


class RevisionNotFound(CheckpointNotFound):
    """The checkpoint is there, but has no revision of this name."""

    reason = "REVISION_NOT_FOUND"

    def __init__(
        self, message: str = "The checkpoint has no revision of this name.", **metadata: Any
    ) -> None:
        super().__init__(message, **metadata)


class OperationNotFound(NotFound):
    """No operation has this id."""

    reason = "OPERATION_NOT_FOUND"

    def __init__(
        self, message: str = "There is no operation with this id.", **metadata: Any
    ) -> None:
        super().__init__(message, **metadata)


class ExperimentNotFound(NotFound):
    """No experiment has this id."""

    reason = "EXPERIMENT_NOT_FOUND"

    def __init__(
        self, message: str = "There is no experiment with this id.", **metadata: Any
    ) -> None:
        super().__init__(message, **metadata)


class ModelNotFound(NotFound):
    """No model has this name."""

    reason = "MODEL_NOT_FOUND"

    def __init__(self, message: str = "There is no model of this name.", **metadata: Any) -> None:
        super().__init__(message, **metadata)


class ModelVersionNotFound(ModelNotFound):
    """The model is there, but has no such version or alias."""

    reason = "MODEL_VERSION_NOT_FOUND"

    def __init__(
        self, message: str = "The model has no such version or alias.", **metadata: Any
    ) -> None:
        super().__init__(message, **metadata)


class FileMissing(NotFound):
    """A record names a key, but the file store has no bytes under it."""

    reason = "FILE_MISSING"


class Conflict(EvalmodeError):
    """The record exists, but its present state forbids this."""

    reason = "CONFLICT"


class MoveForbidden(Conflict):
    """The state of a run or an experiment has no such move.

    Args:
        move: what was asked: pause, resume or cancel.
        state: where it stands now; also `metadata["state"]`.
        what: "A run" or "An experiment".
    """

    reason = "MOVE_FORBIDDEN"

    def __init__(self, move: str, state: State, what: str = "A run") -> None:
        message = f"{what} that is {state.value} cannot {move}."
        super().__init__(message, move=move, state=state.value)
        self.state = state


class RunNotEnded(Conflict):
    """Only an ended run can be deleted.

    Args:
        state: where the run stands now; also `metadata["state"]`.
    """

    reason = "RUN_NOT_ENDED"

    def __init__(self, state: State) -> None:
        super().__init__(
            f"The run is {state.value}; cancel it or wait before deleting it.", state=state.value
        )
        self.state = state


class RunInUse(Conflict):
    """The report of an experiment will need this run.

    Args:
        experiment_id: the experiment; also `metadata["experiment"]`.
    """

    reason = "RUN_IN_USE"

    def __init__(self, experiment_id: str) -> None:
        message = f"Experiment {experiment_id} has no report yet and needs this run."
        super().__init__(message, experiment=experiment_id)


class ExperimentNotEnded(Conflict):
    """Only an ended experiment can be deleted.

    Args:
        state: where the experiment stands now; also `metadata["state"]`.
    """

    reason = "EXPERIMENT_NOT_ENDED"

    def __init__(self, state: State) -> None:
        message = f"The experiment is {state.value}; cancel it or wait before deleting it."
        super().__init__(message, state=state.value)
        self.state = state


class ReportNotReady(Conflict):
    """The experiment has no report, or none yet.

    Args:
        state: where the experiment stands now; also `metadata["state"]`.
    """

    reason = "REPORT_NOT_READY"

    def __init__(self, state: State) -> None:
        never = state in (State.FAILED, State.CANCELLED)
        told = "it has no report" if never else "its report is made when all its runs have ended"
        super().__init__(f"The experiment is {state.value}: {told}.", state=state.value)
        self.state = state


class CheckpointNotReady(Conflict):
    """The run has no checkpoint yet."""

    reason = "CHECKPOINT_NOT_READY"


class CheckpointInUse(Conflict):
    """What is to be deleted has a checkpoint that something else needs.

    Args:
        models: names of models whose versions serve it.
        operations: ids of operations on it that have not ended.
    """

    reason = "CHECKPOINT_IN_USE"

    def __init__(self, models: list[str], operations: list[str]) -> None:
        told = [f"Models serve it: {', '.join(models)}; delete them first."] if models else []
        if operations:
            told.append(f"Operations on it have not ended: {', '.join(operations)}.")
        super().__init__(" ".join(told), models=models, operations=operations)


class CheckpointOfRun(Conflict):
    """What a run trained goes with the run.

    Args:
        run_id: the run; also `metadata["run"]`.
    """

    reason = "CHECKPOINT_OF_RUN"

    def __init__(self, run_id: str) -> None:
        message = f"Run {run_id} trained this checkpoint; it is deleted with the run."
        super().__init__(message, run=run_id)


class RevisionNameTaken(Conflict):
    """The checkpoint has a revision of this name.

    Args:
        checkpoint_id: that revision; also `metadata["checkpoint"]`.
    """

    reason = "REVISION_NAME_TAKEN"

    def __init__(self, checkpoint_id: str) -> None:
        message = f"Revision {checkpoint_id} has this name already."
        super().__init__(message, checkpoint=checkpoint_id)


class DatasetInUse(Conflict):
    """A run, an operation or an experiment that has not ended reads this dataset."""

    reason = "DATASET_IN_USE"


class DatasetBuiltIn(Conflict):
    """Built-in datasets are neither deleted nor replaced by an upload of their name."""

    reason = "DATASET_BUILT_IN"


class Fenced(EvalmodeError):
    """The caller's epoch owns its run or operation no more; what it still does must not count.

    Args:
        kind: what was owned: run or operation; also the id's key in `metadata`.
    """

    reason = "FENCED"

    def __init__(self, owned_id: str, epoch: int, kind: str = "run") -> None:
        super().__init__(
            f"Epoch {epoch} does not own {kind} {owned_id} any more.",
            **{kind: owned_id, "epoch": epoch},
        )


class IdempotencyMismatch(EvalmodeError):
    """The idempotency key was used before with another body."""

    reason = "IDEMPOTENCY_MISMATCH"

    def __init__(
        self,
        message: str = "This Idempotency-Key was used before with another request.",
        **metadata: Any,
    ) -> None:
        super().__init__(message, **metadata)


class IdempotencyInFlight(EvalmodeError):
    """The first request with this idempotency key has not ended."""

    reason = "IDEMPOTENCY_IN_FLIGHT"

    def __init__(
        self,
        message: str = "The first request with this Idempotency-Key has not ended yet.",
        **metadata: Any,
    ) -> None:
        super().__init__(message, **metadata)


class BadCursor(EvalmodeError):
    """`after` names nothing in this list."""

    reason = "BAD_CURSOR"

    def __init__(
        self, message: str = "`after` is not the id of an item of this list.", **metadata: Any
    ) -> None:
        super().__init__(message, **metadata)


class Unavailable(EvalmodeError):
    """Nothing is wrong with the request; the service cannot do it now."""

    reason = "UNAVAILABLE"


class QueueFull(Unavailable):
    """As many runs or operations wait as are allowed to."""

    reason = "QUEUE_FULL"

    def __init__(self, limit: int, kind: str = "runs", new: int = 1) -> None:
        message = f"{limit} {kind} wait already, which is the limit."
        if new > 1:
            message = f"At most {limit} {kind} may wait, and with {new} more there would be more."
        super().__init__(message, limit=limit, **({"new": new} if new > 1 else {}))


class DatabaseUnavailable(Unavailable):
    """The database did not answer, or gave the transaction up."""

    reason = "DATABASE_UNAVAILABLE"

    def __init__(self, message: str = "The database did not answer.", **metadata: Any) -> None:
        super().__init__(message, **metadata)


class StoreUnavailable(Unavailable):
    """The file store did not answer."""

    reason = "STORE_UNAVAILABLE"

    def __init__(self, message: str = "The file store did not answer.", **metadata: Any) -> None:
        super().__init__(message, **metadata)


class DiskLow(Unavailable):
    """Too few free bytes to accept work."""

    reason = "DISK_LOW"
