"""One report: what its process has written becomes the experiment's, in one transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from core import experiment_moves, operation_claims
from core.experiment_moves import NewReport
from core.operations import Operation
from worker.channel import Message
from worker.operation_supervisor import OperationSupervisor
from worker.report_inputs import assign_report


class ReportSupervisor(OperationSupervisor):
    """Owns one claim of the operation that makes an experiment's report."""

    @contextmanager
    def _assigned(self) -> Iterator[tuple[str, dict[str, Any]]]:
        with assign_report(self._services, self._operation) as told:
            yield "report", told.to_json()

    def _on_done(self, message: Message) -> None:
        new = NewReport(**message["report"])
        self._let_go(_finish, self._operation.experiment_id, new)


def _finish(
    c: Connection, operation_id: str, epoch: int, experiment_id: str, new: NewReport
) -> Operation:
    """The end of the operation and of the experiment: both count or none."""
    result = {"experiment": experiment_id, "verdict": new.summary["verdict"]}
    ended = operation_claims.finish(c, operation_id, epoch, result)
    experiment_moves.reported(c, experiment_id, new)
    return ended
