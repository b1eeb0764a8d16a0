"""The process that does one piece of work: it waits for an assignment, and reports over its pipe.

It holds no connection to records or queue. Importing this module does nothing else: the
forkserver imports it once, and every child starts from there.
"""

import gc
import logging
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch._dynamo  # the first optimizer object would import it: a second of a run's start

from core.errors import EvalmodeError
from model.errors import ChecksumMismatch, ModelError
from worker.assignment import Assignment, OperationAssignment, ReportAssignment, Timing
from worker.channel import Channel
from worker.forkserver import die_with_forkserver
from worker.lease import Lifeline
from worker.operation import operate
from worker.rehearsal import rehearse
from worker.trainer import Trainer, Unreadable

log = logging.getLogger(__name__)


def main(connection: "Connection[Any, Any]") -> None:
    """Do the one thing that arrives; what became of it is the last message on the pipe."""
    _settle()
    _wait_and_work(Channel(connection))


def main_rehearsed(connection: "Connection[Any, Any]") -> None:
    """As `main`, for the CPU: it has trained something small before its assignment arrives."""
    _settle()
    rehearse()
    _wait_and_work(Channel(connection))


def _settle() -> None:
    die_with_forkserver()
    gc.freeze()  # a collection must not touch, and so copy, what the forkserver imported


def _wait_and_work(channel: Channel) -> None:
    try:
        message = channel.receive()
    except EOFError:
        return  # the worker ended before there was any work
    told = message["assignment"]
    if message["kind"] == "train":
        run = Assignment.from_json(told)
        lifeline = _alive(channel, run.timing)
        _reporting(channel, lambda: Trainer(run, channel, lifeline).train())
    elif message["kind"] == "operate":
        operation = OperationAssignment.from_json(told)
        lifeline = _alive(channel, operation.timing)
        _reporting(channel, lambda: operate(operation, channel, lifeline))
    else:
        _reporting(channel, lambda: _report(told, channel), "REPORT_FAILED")


def _report(told: dict[str, Any], channel: Channel) -> None:
    assignment = ReportAssignment.from_json(told)
    lifeline = _alive(channel, assignment.timing)
    # Here, because it loads every experiment and what draws figures, which trainers do without.
    from worker.reporting import report

    report(assignment, channel, lifeline)


def _alive(channel: Channel, timing: Timing) -> Lifeline:
    lifeline = Lifeline(channel, timing)
    lifeline.start()
    return lifeline


def _reporting(
    channel: Channel, work: Callable[[], None], otherwise: str = "TRAINER_FAILED"
) -> None:
    """Do the work; an error is the last message.

    Args:
        otherwise: the reason of an error that nobody has foreseen.
    """
    try:
        work()
    except Unreadable as error:
        channel.send("unreadable", message=str(error))
    except ChecksumMismatch as error:
        _fail(channel, "infra", error.reason, error)
    except ModelError as error:
        _fail(channel, "user", error.reason, error)
    except (OSError, EvalmodeError) as error:
        # A full disk or an unreachable store passes: the work goes back to the queue.
        channel.send("released", delay=60.0, detail=f"{type(error).__name__}: {error}")
    except Exception as error:
        if is_out_of_memory(error):
            _fail(channel, "infra", "OUT_OF_MEMORY", error)
            return
        log.exception("the process failed")
        message = f"{type(error).__name__}: {error}"
        channel.send("failed", cause="code", reason=otherwise, message=message)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; torch's CPU allocator says so in a plain RuntimeError."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _fail(channel: Channel, cause: str, reason: str, error: BaseException) -> None:
    channel.send("failed", cause=cause, reason=reason, message=str(error) or type(error).__name__)
