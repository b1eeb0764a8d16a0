"""One run: its trainer's reports become records, and its users' wishes reach the trainer."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from sqlalchemy import Connection

from core import claims, logs, runs
from core.claims import Measurement, NewCheckpoint, Point, Report, Restored, ResumePoint
from core.errors import DatabaseUnavailable, NotFound, StoreUnavailable
from core.record import Run
from core.states import Outcome, State
from worker.assign import ResumeLost, assign
from worker.channel import Message
from worker.lease import Wish
from worker.pace import Pace
from worker.renewal import renewed
from worker.services import Services
from worker.spare import Spare
from worker.supervision import START_AGAIN_SECONDS, Handler, Supervision
from worker.tidy import delete_files, delete_unnamed

WISHES: dict[State, Wish] = {State.PAUSING: "pause", State.STOPPING: "stop"}


class Supervisor(Supervision):
    """Owns one claim of one run until its trainer has ended.

    Args:
        services: this worker.
        run: as claimed.
        visible_device: the CUDA device of this slot; None trains on the CPU.
        spare: where its trainer comes from.
    """

    attach = staticmethod(claims.attach)
    renew = staticmethod(claims.renew)

    def __init__(
        self, services: Services, run: Run, visible_device: str | None, spare: Spare
    ) -> None:
        super().__init__(services, run.id, run.epoch, visible_device, spare)
        self._run = run
        self._pace = Pace()

    def supervise(self) -> None:
        """Train the run; returns once its trainer has ended and the records say so."""
        with logs.bound(run=self._run.id, epoch=self._run.epoch):
            super().supervise()

    def _work_or_let_go(self) -> None:
        try:
            with ExitStack() as stack:
                with renewed(self._services, claims.renew, self._run.id, self._run.epoch):
                    told = assign(self._services, self._run, self._visible_device)
                    assignment = stack.enter_context(told)
                self._work("train", assignment.to_json())
        except ResumeLost as error:
            self._begin_again(str(error))
        except NotFound as error:
            self._own(
                claims.fail, {"cause": "infra", "reason": error.reason, "message": error.message}
            )
        except (StoreUnavailable, DatabaseUnavailable, OSError, EOFError) as error:
            # The store is away, or the forkserver died just now: both pass.
            self._own(claims.release, f"It could not be started: {error}", START_AGAIN_SECONDS)

    def _handlers(self) -> dict[str, Handler]:
        return {
            "report": self._on_report,
            "saved": self._on_saved,
            "ended": self._on_ended,
            "failed": self._on_failed,
            "released": self._on_released,
            "unreadable": self._on_unreadable,
        }

    def _on_report(self, message: Message) -> None:
        points = [Point(**point) for point in message["points"]]
        rate = self._pace.rate(message["step"], message["clock"])
        first_step_at = message["at"] if message["first"] else None
        told = Report(
            message["step"],
            rate,
            points,
            message["evaluated"],
            first_step_at,
            [Restored(**one) for one in message["restored"]],
            [Measurement(**one) for one in message["measured"]],
        )
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

    def _let_go_of_a_dead_process(self, detail: str) -> None:
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

    def _wanted(self) -> Wish | None:
        try:
            state = self._services.database.read(lambda c: runs.get(c, self._id)).state
        except DatabaseUnavailable:
            state = State.RUNNING
        if state in WISHES:
            return WISHES[state]
        return "shutdown" if self._services.draining.is_set() else None


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
