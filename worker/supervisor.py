"""One trainer process per run: start it, write down what it reports, pass wishes on, reap it.

Every write is a compare-and-set on the run's epoch. The first one that fails means that
another owner may have begun: the trainer is killed and nothing more is written.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing import connection
from typing import Any

from sqlalchemy import Connection

from core import claims, logs, runs
from core.claims import NewCheckpoint, Point, Report, Restored, ResumePoint
from core.errors import DatabaseUnavailable, Fenced, NotFound, StoreUnavailable
from core.record import Run
from core.states import Outcome, State
from worker.assign import ResumeLost, assign
from worker.assignment import Assignment
from worker.channel import Message
from worker.lease import Wish
from worker.pace import Pace
from worker.renewal import renewed
from worker.services import Services, started_at
from worker.spare import Spare
from worker.tidy import delete_files, delete_unnamed

POLL_SECONDS = 0.1
RETRY_SECONDS = 1.0
START_AGAIN_SECONDS = 5.0
WISHES: dict[State, Wish] = {State.PAUSING: "pause", State.STOPPING: "stop"}

log = logs.get(__name__)


class Supervisor:
    """Owns one claim of one run until its trainer has ended.

    Args:
        services: this worker.
        run: as claimed; its epoch is the token of every write.
        visible_device: the CUDA device of this slot; None trains on the CPU.
        spare: where its trainer comes from.
    """

    def __init__(
        self, services: Services, run: Run, visible_device: str | None, spare: Spare
    ) -> None:
        self._services, self._run, self._visible_device = services, run, visible_device
        self._spare = spare
        self._wish: Wish | None = None
        self._kill_at = float("inf")
        self._has_let_go = False  # the last word of this claim is in the records
        self._pace = Pace()

    def supervise(self) -> None:
        """Train the run; returns once its trainer has ended and the records say so."""
        with logs.bound(run=self._run.id, epoch=self._run.epoch):
            try:
                self._train_or_let_go()
            except Fenced:
                log.warning("another owner may have begun")
            finally:
                self._spare.prepare()

    def _train_or_let_go(self) -> None:
        try:
            with ExitStack() as stack:
                with renewed(self._services, self._run):
                    told = assign(self._services, self._run, self._visible_device)
                    assignment = stack.enter_context(told)
                self._train(assignment)
        except ResumeLost as error:
            self._begin_again(str(error))
        except NotFound as error:
            self._own(
                claims.fail, {"cause": "infra", "reason": error.reason, "message": error.message}
            )
        except (StoreUnavailable, DatabaseUnavailable, OSError, EOFError) as error:
            # The store is away, or the forkserver died just now: both pass.
            self._own(claims.release, f"It could not be started: {error}", START_AGAIN_SECONDS)

    def _train(self, assignment: Assignment) -> None:
        child = self._spare.take()
        self._process, self._channel = child.process, child.channel
        try:
            self._channel.send("train", assignment=assignment.to_json())
            self._attach()
            self._watch()
            self._process.join(self._services.settings.shutdown_seconds)
            if not self._has_let_go:
                self._kill()
                self._let_go_of_a_dead_trainer()
        finally:
            self._kill()
            self._channel.close()

    def _attach(self) -> None:
        pid = self._process.pid
        assert pid is not None
        lease = self._services.settings.lease_seconds
        self._own(claims.attach, pid, started_at(pid), lease, durable=False)

    def _watch(self) -> None:
        """Handle messages until the trainer has ended and its pipe is empty."""
        polled_at = 0.0
        sources: list[Any] = [self._channel.connection, self._process.sentinel]
        while True:
            ready = connection.wait(sources, POLL_SECONDS)
            if self._channel.connection in ready:
                try:
                    message = self._channel.receive()
                except (EOFError, OSError):
                    return
                self._handle(message)
            elif ready:
                return
            if time.monotonic() - polled_at >= POLL_SECONDS:
                polled_at = time.monotonic()
                self._pass_wish_on()

    def _handle(self, message: Message) -> None:
        handlers: dict[str, Callable[[Message], None]] = {
            "alive": self._on_alive,
            "report": self._on_report,
            "saved": self._on_saved,
            "ended": self._on_ended,
            "failed": self._on_failed,
            "released": self._on_released,
            "unreadable": self._on_unreadable,
        }
        handlers[message["kind"]](message)

    def _on_alive(self, message: Message) -> None:
        try:
            lease = self._services.settings.lease_seconds
            self._own_once(claims.renew, lease, durable=False)
        except DatabaseUnavailable:
            return  # not renewed: the trainer fences itself when this goes on
        self._tell("renewed", at=message["at"])

    def _on_report(self, message: Message) -> None:
        points = [Point(**point) for point in message["points"]]
        rate = self._pace.rate(message["step"], message["clock"])
        first_step_at = message["at"] if message["first"] else None
        restored = [Restored(**one) for one in message["restored"]]
        told = Report(message["step"], rate, points, message["evaluated"], first_step_at, restored)
        self._own(claims.report, told, durable=False)
        if message["first"]:
            self._spare.prepare()  # not earlier, or it would take time from this run's start

    def _on_saved(self, message: Message) -> None:
        if message["checkpoint"]:
            self._own(claims.add_checkpoint, NewCheckpoint(**message["checkpoint"]))
        replaced = self._own(claims.save_resume, ResumePoint(**message["resume"]))
        delete_files(self._services, replaced)

    def _on_ended(self, message: Message) -> None:
        records = [NewCheckpoint(**record) for record in message["checkpoints"]]
        outcome = Outcome(message["outcome"])
        self._let_go(_finish, outcome, message["step"], records, message["kept"])

    def _on_failed(self, message: Message) -> None:
        error = {name: message[name] for name in ("cause", "reason", "message")}
        self._let_go(claims.fail, error)

    def _on_released(self, message: Message) -> None:
        self._let_go(claims.release, message["detail"], message["delay"])

    def _on_unreadable(self, message: Message) -> None:
        self._begin_again(message["message"])

    def _begin_again(self, detail: str) -> None:
        why = f"The resume point cannot be read, training begins again: {detail}"
        delete_files(self._services, self._own(claims.drop_resume, why))
        self._let_go(claims.release, why)

    def _let_go_of_a_dead_trainer(self) -> None:
        detail = f"the trainer ended with status {self._process.exitcode}"
        log.warning(detail)
        if self._wish is not None:
            # It was asked to end and did not manage in time: no crash of the run's own.
            self._let_go(claims.release, detail)
        else:
            self._let_go(claims.lost, detail, self._services.settings.max_crashes)

    def _let_go(self, write: Callable[..., Run], *values: Any) -> None:
        """Write the last word of this claim; of an ended run only what is named stays."""
        run: Run = self._own(write, *values)
        self._has_let_go = True
        if run.ended:
            delete_unnamed(self._services, run.id)

    def _pass_wish_on(self) -> None:
        wish = self._wanted()
        if wish is not None and wish != self._wish:
            self._wish = wish
            self._kill_at = time.monotonic() + self._services.settings.shutdown_seconds
            self._tell(wish)
        if time.monotonic() > self._kill_at:
            self._kill()

    def _wanted(self) -> Wish | None:
        try:
            state = self._services.database.read(lambda c: runs.get(c, self._run.id)).state
        except DatabaseUnavailable:
            state = State.RUNNING
        if state in WISHES:
            return WISHES[state]
        return "shutdown" if self._services.draining.is_set() else None

    def _own(self, write: Callable[..., Any], *values: Any, durable: bool = True) -> Any:
        """Write as the owner; waits for a database that is away, and is fenced if too late.

        Raises:
            DatabaseUnavailable: it stayed away while this worker is ending: the lease runs out.
        """
        patience = time.monotonic() + self._services.settings.shutdown_seconds
        while True:
            try:
                return self._own_once(write, *values, durable=durable)
            except DatabaseUnavailable:
                if self._services.draining.is_set() and time.monotonic() > patience:
                    raise
                log.warning("the database does not answer")
                time.sleep(RETRY_SECONDS)

    def _own_once(self, write: Callable[..., Any], *values: Any, durable: bool) -> Any:
        def work(c: Connection) -> Any:
            return write(c, self._run.id, self._run.epoch, *values)

        return self._services.database.write(work, durable=durable)

    def _tell(self, kind: str, **values: Any) -> None:
        with suppress(OSError):  # it has ended; the watch will see
            self._channel.send(kind, **values)

    def _kill(self) -> None:
        """End the trainer and whatever it started, and wait for it; twice is once."""
        pid = self._process.pid
        assert pid is not None
        if self._process.is_alive():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            self._process.kill()
        self._process.join()


def _finish(
    c: Connection,
    run_id: str,
    epoch: int,
    outcome: Outcome,
    step: int,
    new: list[NewCheckpoint],
    kept: int | None,
) -> Run:
    """The last checkpoints and the end of the run in one transaction: all count or none.

    Args:
        kept: step of the checkpoint that is the run's.
    """
    ids = {one.step: claims.add_checkpoint(c, run_id, epoch, one) for one in new}
    named = None if kept is None else ids[kept]
    if named is not None:
        claims.choose_checkpoint(c, run_id, epoch, named)
    return claims.finish(c, run_id, epoch, outcome, {"step": step, "checkpoint": named})
