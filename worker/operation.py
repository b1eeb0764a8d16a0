"""An operation in a child process: other running statistics for a checkpoint, as its revision.

What is written is the statistics alone. They are loaded again together with the weights, as
serving will load them, and scored beside what was there before.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.files import FileStore, open_store
from core.settings import Settings
from model.checkpoint import About, Loaded, Written, load, write_revision
from model.recalibrate import Recalibrated, Recalibration, recalibrated
from model.statistics.diagnose import diagnose
from model.statistics.layers import norm_states
from model.statistics.transplant import transplanted
from worker.assignment import CheckpointFiles, OperationAssignment
from worker.channel import Channel
from worker.interruption import Interrupted
from worker.lease import Lifeline
from worker.operation_rows import Home, Rows, home_of, rows_of, scores
from worker.visible_device import open_device

REPORT_SECONDS = 0.5  # between two reports of progress
STARTED, MADE = 0.1, 0.8  # progress before and after the statistics are made


@dataclass(frozen=True)
class Made:
    """New statistics on the old weights, before they are written."""

    tensors: dict[str, Tensor]
    about: About
    told: dict[str, Any]  # of how they came about, for the result; JSON-ready
    rows: Rows | None  # that were read


@dataclass(frozen=True)
class Found:
    """What a checkpoint was scored and diagnosed as."""

    metrics: dict[str, float | None]
    findings: list[dict[str, Any]]
    history: dict[str, Any] | None  # as `Scored` has it; None where no rows could tell


def operate(assignment: OperationAssignment, channel: Channel, lifeline: Lifeline) -> None:
    """Do one operation; the last message is what became of it."""
    try:
        Operation(assignment, channel, lifeline).run()
    except Interrupted:
        channel.send("released", delay=0.0, detail=lifeline.wish)


class Operation:
    """One operation, from its files to its result."""

    def __init__(
        self, assignment: OperationAssignment, channel: Channel, lifeline: Lifeline
    ) -> None:
        self._assignment, self._channel, self._lifeline = assignment, channel, lifeline
        self._reported_at = time.monotonic()

    def run(self) -> None:
        """Make the statistics, write them, and say what they changed."""
        told = self._assignment
        torch.set_num_threads(told.threads)
        self._device = open_device(told.device, told.visible_device)
        old = _load(told.checkpoint)
        home = home_of((told.home, told.rows_folder), old, self._lifeline.moved)
        makers: dict[str, Callable[[Loaded, Home | None], Made]] = {
            "recalibrate": self._recalibrate,
            "transplant": self._transplant,
        }
        made = makers[told.kind](old, home)
        self._report(MADE)
        files = open_store(Settings.model_validate(told.settings))
        written = self._write(files, made)
        new = _load(
            replace(
                told.checkpoint,
                statistics=str(files.local(told.statistics_key)),
                sha256=written.sha256,
            )
        )
        before, after = (_found(one, home, made.rows) for one in (old, new))
        self._finish(written, made, before, after)

    def _recalibrate(self, old: Loaded, home: Home | None) -> Made:
        params = self._assignment.params
        rows = rows_of(self._assignment, old, home)
        self._report(STARTED)
        asked = Recalibration(
            params["method"],
            params["batch_rows"],
            params["seed"],
            params["momentum"],
            params["source_rows"],
        )
        there = replace(old, network=old.network.to(self._device))
        found = recalibrated(there, rows.inputs, asked, self._on_batch)
        old.network.to("cpu")  # a network moves in place
        made_by = self._made_by(asked, found, rows)
        about = _renewed(old.about, found.num_batches, made_by)
        about = replace(about, initial_share=_initial_share(old, asked, found))
        told = made_by | {"curve": [asdict(point) for point in found.curve]}
        calibrated = _calibrated(found.tensors, about, home if rows.are_own else None)
        return Made(found.tensors, calibrated, told, rows)

    def _made_by(self, asked: Recalibration, found: Recalibrated, rows: Rows) -> dict[str, Any]:
        told: dict[str, Any] = {
            "method": found.method,
            "batch_rows": found.batch_rows,
            "batches": found.num_batches,
            "rows": found.num_rows,
            "rows_fingerprint": found.rows,
            "dataset": self._assignment.dataset,
            "training_rows": rows.are_own,
            "seed": found.seed,
        }
        if found.method == "ema":
            told["momentum"] = asked.momentum
        if found.method == "adapt":
            told["source_rows"] = asked.source_rows
        return told

    def _transplant(self, old: Loaded, home: Home | None) -> Made:
        files = self._assignment.donor
        assert files is not None
        donor = _load(files)
        tensors = transplanted(old.network.state_dict(), donor.network.state_dict())
        made_by = {
            "method": "transplant",
            "statistics_from": self._assignment.params["statistics_from"],
        }
        about = _renewed(old.about, donor.about.batches, made_by)
        about = replace(
            about, unknown_age=donor.about.unknown_age, initial_share=donor.about.initial_share
        )
        return Made(tensors, _calibrated(tensors, about, home), made_by, None)

    def _write(self, files: FileStore, made: Made) -> Written:
        told = self._assignment
        path = files.scratch() / f"{told.operation}-e{told.epoch}.safetensors"
        try:
            written = write_revision(path, made.tensors, made.about)
            self._lifeline.check()
            files.put(path, told.statistics_key)
            return written
        finally:
            path.unlink(missing_ok=True)

    def _finish(self, written: Written, made: Made, before: Found, after: Found) -> None:
        scores = {"before": before.metrics, "after": after.metrics}
        revision = {
            "statistics_key": self._assignment.statistics_key,
            "sha256": written.sha256,
            "bytes": written.num_bytes,
            "fingerprint": written.statistics,
            "weights_hash": written.weights,
            "metrics": after.metrics,
            "made_by": dict(made.about.made_by or {}),
            "findings": after.findings,
            "history": after.history,
            "name": self._assignment.params["name"],
        }
        result = scores | made.told | {"findings": after.findings}
        self._channel.send("done", revision=revision, result=result)

    def _on_batch(self, share: float) -> None:
        """Between two batches: the process is alive, and may be asked to end."""
        self._lifeline.moved()
        self._lifeline.check()
        if self._lifeline.wish:
            raise Interrupted
        if time.monotonic() - self._reported_at > REPORT_SECONDS:
            self._report(STARTED + (MADE - STARTED) * share)

    def _report(self, progress: float) -> None:
        self._lifeline.moved()
        self._reported_at = time.monotonic()
        self._channel.send("progress", progress=progress)


def _load(files: CheckpointFiles) -> Loaded:
    statistics = None if files.statistics is None else Path(files.statistics)
    return load(Path(files.weights), files.sha256, statistics=statistics)


def _renewed(about: About, batches: int | None, made_by: dict[str, Any]) -> About:
    """What is said of a checkpoint whose statistics are all new."""
    return replace(
        about,
        batches=batches,
        unknown_age=(),
        initial_share=None,
        is_averaged=False,
        frozen={},
        drift=None,
        made_by=made_by,
    )


def _initial_share(old: Loaded, asked: Recalibration, found: Recalibrated) -> float:
    """What is left of the first 0 and 1: of statistics from rows alone nothing."""
    if found.method != "adapt":
        return 0.0
    known = old.about.evidence()
    shares = (known.share(s.name, s.momentum, s.counter) for s in norm_states(old.network))
    kept = asked.source_rows / (asked.source_rows + found.num_rows)
    return kept * max((share for share in shares if share is not None), default=0.0)


def _calibrated(tensors: dict[str, Tensor], about: About, home: Home | None) -> About:
    """With the thresholds of drift, where rows are known that suit these statistics."""
    return about if home is None else home.scoring.calibrated(tensors, about)


def _found(loaded: Loaded, home: Home | None, rows: Rows | None) -> Found:
    if home is None:
        told = diagnose(loaded.network, loaded.about.evidence(), "save")
        return Found(scores(loaded, rows), [finding.to_json() for finding in told], None)
    scored = home.scoring.score(loaded)
    return Found(scored.metrics | scores(loaded, rows), scored.findings, scored.history)
