"""One operation: what its process makes becomes a revision, in one transaction with its end."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlalchemy import Connection

from core import logs, operation_claims, revisions
from core.errors import DatabaseUnavailable, NotFound, RevisionNameTaken, StoreUnavailable
from core.experiment_moves import REPORT
from core.operations import Operation
from core.revisions import NewRevision
from worker.assign import assign_operation
from worker.channel import Message
from worker.lease import Wish
from worker.renewal import renewed
from worker.services import Services
from worker.spare import Spare
from worker.supervision import START_AGAIN_SECONDS, Handler, Supervision
from worker.tidy import delete_files

KINDS = ("recalibrate", "transplant", REPORT)  # newer kinds wait for newer workers


class OperationSupervisor(Supervision):
    """Owns one claim of one operation until its process has ended.

    Args:
        services: this worker.
        operation: as claimed.
        visible_device: the CUDA device of this slot; None works on the CPU.
        spare: where its process comes from.
    """

    attach = staticmethod(operation_claims.attach)
    renew = staticmethod(operation_claims.renew)

    def __init__(
        self, services: Services, operation: Operation, visible_device: str | None, spare: Spare
    ) -> None:
        super().__init__(services, operation.id, operation.epoch, visible_device, spare)
        self._operation = operation

    def supervise(self) -> None:
        """Do the operation; returns once its process has ended and the records say so."""
        with logs.bound(operation=self._id, epoch=self._epoch):
            super().supervise()

    def _work_or_let_go(self) -> None:
        try:
            with ExitStack() as stack:
                with renewed(self._services, operation_claims.renew, self._id, self._epoch):
                    kind, assignment = stack.enter_context(self._assigned())
                self._work(kind, assignment)
        except NotFound as error:
            self._fail("user", error.reason, error.message)
        except (StoreUnavailable, DatabaseUnavailable, OSError, EOFError) as error:
            # The store is away, or the forkserver died just now: both pass.
            logs.get(__name__).warning("an operation could not be started", error=str(error))
            self._own(operation_claims.release, START_AGAIN_SECONDS)

    @contextmanager
    def _assigned(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What the process is told, and by which word, with everything that it reads."""
        told = assign_operation(self._services, self._operation, self._visible_device)
        with told as assignment:
            yield "operate", assignment.to_json()

    def _handlers(self) -> dict[str, Handler]:
        return {
            "progress": self._on_progress,
            "done": self._on_done,
            "failed": self._on_failed,
            "released": self._on_released,
        }

    def _on_progress(self, message: Message) -> None:
        self._own(operation_claims.report, message["progress"], durable=False)

    def _on_done(self, message: Message) -> None:
        new = NewRevision(**message["revision"])
        try:
            self._let_go(_finish, self._operation.checkpoint_id, new, message["result"])
        except RevisionNameTaken as error:
            self._fail("user", error.reason, error.message)
            delete_files(self._services, [new.statistics_key])

    def _on_failed(self, message: Message) -> None:
        self._fail(message["cause"], message["reason"], message["message"])

    def _on_released(self, message: Message) -> None:
        self._let_go(operation_claims.release, message["delay"])

    def _fail(self, cause: str, reason: str, message: str) -> None:
        error = {"cause": cause, "reason": reason, "message": message}
        self._let_go(operation_claims.fail, error)

    def _let_go_of_a_dead_process(self, detail: str) -> None:
        if self._wish is not None:
            # It was asked to end and did not manage in time: no crash of its own.
            self._let_go(operation_claims.release)
        else:
            most = self._services.settings.max_crashes
            self._let_go(operation_claims.lost, detail, most)

    def _let_go(self, write: Any, *values: Any) -> None:
        """Write the last word of this claim; rows that came with an ended operation go."""
        operation: Operation = self._own(write, *values)
        self._has_let_go = True
        rows_key = operation.params.get("rows_key")
        if operation.ended and rows_key is not None:
            delete_files(self._services, [rows_key])

    def _wanted(self) -> Wish | None:
        return "shutdown" if self._services.draining.is_set() else None


def _finish(
    c: Connection,
    operation_id: str,
    epoch: int,
    checkpoint_id: str,
    new: NewRevision,
    result: dict[str, Any],
) -> Operation:
    """The revision and the end of the operation in one transaction: both count or none."""
    made = revisions.insert_one(c, checkpoint_id, new, operation_id, epoch)
    result = {"checkpoint": made.id, "name": made.name} | result
    return operation_claims.finish(c, operation_id, epoch, result)
