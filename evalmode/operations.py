"""What can be asked of operations, as procedures: `client.operations` of both clients."""

from urllib.parse import quote

from evalmode.resources import OperationRecord
from evalmode.steps import Emitting, Request, Steps, fetch, pages
from evalmode.waiting import until_ended


def get(operation: str) -> Steps[OperationRecord]:
    """One operation by its id."""
    path = f"/v1/operations/{quote(operation, safe='')}"
    return fetch(Request("GET", path), OperationRecord.model_validate)


def list_all(checkpoint: str | None = None) -> Emitting[OperationRecord]:
    """Every operation, newest first; pages are fetched as they are needed.

    Args:
        checkpoint: only operations on this checkpoint.
    """
    query = {} if checkpoint is None else {"checkpoint": checkpoint}
    return pages("/v1/operations", query, OperationRecord.model_validate)


def wait(operation: str, timeout: float | None = None, poll: float = 1.0) -> Steps[OperationRecord]:
    """Wait until an operation has ended, however it ended, and return it.

    Args:
        operation: its id.
        timeout: seconds after which to give up; None never does.
        poll: longest seconds between two looks; the first ones come sooner.

    Raises:
        WaitTimeout: the operation had not ended in time; it goes on.
    """
    return until_ended(lambda: get(operation), timeout, poll)
