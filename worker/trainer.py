"""The trainer: trains one run in a child process, and decides what is written when."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from core.files import FileStore, open_store
from core.settings import Settings
from model.checkpoint import About
from model.data.dataset import load as load_dataset
from model.errors import CheckpointRefused
from model.measures.engine import engine_of
from model.networks.indices import refuse_indices
from model.plan import Limits, check
from model.spec import RunSpec
from model.training.arrays import prepare
from model.training.guard import Restored
from model.training.happenings import Happening, Point
from model.training.loop import Training
from model.training.observer import Measured
from worker.assignment import Assignment
from worker.channel import Channel
from worker.lease import Lifeline
from worker.saver import Saver, read_resume
from worker.scoring import Scoring
from worker.visible_device import open_device

ACCEPTED = Limits(max_parameters=2**63, max_memory_bytes=2**63)  # the API's limits were checked


class Unreadable(Exception):
    """The files of the resume point are not what was written."""


class Trainer:
    """Drives one `Training` and decides what is written when."""

    def __init__(self, assignment: Assignment, channel: Channel, lifeline: Lifeline) -> None:
        self.assignment, self.channel, self.lifeline = assignment, channel, lifeline
        self._points: list[Point] = []
        self._evaluated = False  # since the last report
        self._restored: list[Restored] = []  # since then, too
        self._measured: list[Measured] = []
        self._reported_at = self._saved_at = time.monotonic()

    def train(self) -> None:
        """Train until the end or until the supervisor wishes otherwise."""
        self._prepare()
        for happening in self.training.run():
            self.lifeline.moved()
            self.lifeline.check()
            self._take(happening)
            if happening.ended:
                self._end(happening)
            elif self.lifeline.wish:
                self._give_back(happening)
                return

    def _prepare(self) -> None:
        device = open_device(self.assignment.device, self.assignment.visible_device)
        spec = RunSpec.model_validate(self.assignment.spec)
        torch.set_num_threads(spec.threads)
        dataset = load_dataset(Path(self.assignment.dataset))
        checked = check(spec, dataset.facts, ACCEPTED)
        arrays = prepare(dataset, spec, device)
        engine = engine_of(checked, arrays, device, self.lifeline.moved)
        self.training = Training(checked, arrays, device, engine)
        refuse_indices(self.training.network, dataset.inputs)
        self._resume()
        self._first = self.training.step + 1
        about = About(spec, dataset.facts, arrays.scaling, 0)
        scoring = Scoring(spec, dataset.facts, arrays, self.lifeline.moved)
        self.saver = Saver(
            self.assignment, self._open_files, self.channel, self.lifeline, about, scoring
        )

    def _open_files(self) -> FileStore:
        return open_store(Settings.model_validate(self.assignment.settings))

    def _resume(self) -> None:
        if self.assignment.resume:
            try:
                point = read_resume(self.assignment.resume)
            except (CheckpointRefused, FileNotFoundError) as error:
                raise Unreadable(str(error)) from error
            self.training.resume(point)

    def _take(self, happening: Happening) -> None:
        now, timing = time.monotonic(), self.assignment.timing
        self._points += happening.points
        self._evaluated |= happening.evaluated
        self._restored += happening.restored
        self._measured += happening.measured
        is_first = happening.step == self._first
        is_saving = not happening.ended and self._must_save(happening, now)
        is_late = now - self._reported_at > timing.metrics
        # Points go before the resume point that lies behind them, or a crash would lose them.
        if is_first or happening.evaluated or happening.ended or is_saving or is_late:
            self._report(happening, is_first)
        if is_saving:
            self.saver.save(self.training.resume_point(), happening.snapshot)
            self._saved_at = now

    def _must_save(self, happening: Happening, now: float) -> bool:
        is_late = now - self._saved_at > self.assignment.timing.resume
        return happening.snapshot is not None or (is_late and self.saver.is_free())

    def _report(self, happening: Happening, is_first: bool) -> None:
        self.channel.send(
            "report",
            step=happening.step,
            at=time.time(),
            first=is_first,
            clock=time.monotonic(),
            evaluated=self._evaluated,
            points=[asdict(point) for point in self._points],
            restored=[asdict(one) for one in self._restored],
            measured=[_measurement(one) for one in self._measured],
        )
        self._restored, self._measured = [], []
        self._points, self._evaluated, self._reported_at = [], False, time.monotonic()

    def _end(self, happening: Happening) -> None:
        """Write what the spec asked for here and what was kept; often they are the same."""
        self.saver.wait()
        wanted = {one.step: one for one in (happening.snapshot, happening.kept) if one}
        records = [self.saver.checkpoint(snapshot) for snapshot in wanted.values()]
        kept = happening.kept.step if happening.kept else None
        self.channel.send(
            "ended",
            outcome=happening.ended,
            step=happening.step,
            kept=kept,
            checkpoints=records,
        )

    def _give_back(self, happening: Happening) -> None:
        self._report(happening, False)
        self.saver.wait()
        if self.lifeline.wish != "stop":
            self.saver.save(self.training.resume_point(), None)
            self.saver.wait()
        self.channel.send("released", delay=0.0, detail=self.lifeline.wish)


def _measurement(found: Measured) -> dict[str, Any]:
    """As its record has it; the values are among the points."""
    return {"kind": found.kind, "step": found.step, "data": dict(found.data)}
