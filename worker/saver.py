"""Writes checkpoints and resume points from a thread, so that training goes on meanwhile.

A file is written, flushed and moved to its place; a checkpoint is then loaded again, as
serving will load it, and scored before it is reported. Nothing counts until the
supervisor has written it into the run's row.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from core.files import FileStore
from model.checkpoint import About, Written, load, read, to_bytes, write
from model.errors import CheckpointRefused
from model.training.happenings import Snapshot
from model.training.loop import ResumePoint
from model.training.resume import Position
from worker.assignment import Assignment, ResumeFiles
from worker.channel import Channel
from worker.lease import Lifeline
from worker.scoring import Scored, Scoring


class Saver:
    """One save at a time; a new one waits for the one before.

    Args:
        assignment: names the run and the claim that files belong to.
        open_files: opens the store that they go to, at the first save and not before: a run's
            first step need not wait for it.
        channel: where they are reported.
        lifeline: asked before a file takes its place.
        run: what every checkpoint says of the run.
        scoring: of the run's spec on its rows.
    """

    def __init__(
        self,
        assignment: Assignment,
        open_files: Callable[[], FileStore],
        channel: Channel,
        lifeline: Lifeline,
        run: About,
        scoring: Scoring,
    ) -> None:
        self._folder = f"runs/{assignment.run}/e{assignment.epoch}"
        self._open_files, self._channel, self._lifeline = open_files, channel, lifeline
        self._run, self._scoring = run, scoring
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saver")
        self._last: Future[None] | None = None

    @cached_property
    def _files(self) -> FileStore:
        return self._open_files()

    def is_free(self) -> bool:
        """Whether a save would begin at once."""
        return self._last is None or self._last.done()

    def save(self, point: ResumePoint, snapshot: Snapshot | None) -> None:
        """Save a resume point, and with a snapshot a checkpoint, in the background."""
        self.wait()
        self._last = self._thread.submit(self._save, point, snapshot)

    def wait(self) -> None:
        """Return once nothing is being saved.

        Raises:
            OSError, CheckpointRefused: what the last save ran into.
        """
        if self._last is not None:
            self._last.result()
            self._last = None

    def checkpoint(self, snapshot: Snapshot) -> dict[str, Any]:
        """Write, load again, score: what the record of a checkpoint holds."""
        about = self._scoring.calibrated(snapshot.tensors, self._about(snapshot))
        written, key = self._write(snapshot, about)
        return {
            "step": snapshot.step,
            "key": key,
            "sha256": written.sha256,
            "bytes": written.num_bytes,
            "fingerprint": written.statistics,
            "weights_hash": written.weights,
            "norm_layers": written.norm_layers,
            **vars(self._score(key, written.sha256)),
        }

    def _save(self, point: ResumePoint, snapshot: Snapshot | None) -> None:
        step = point.position.step
        state_sha256, state_key = self._write_state(point)
        record = self.checkpoint(snapshot) if snapshot else None
        if record is None:
            there = Snapshot(step, point.network, step - point.position.forgotten)
            written, key = self._write(there, self._about(there))
            sha256 = written.sha256
        else:
            sha256, key = record["sha256"], record["key"]
        resume = {
            "step": step,
            "checkpoint_key": key,
            "checkpoint_sha256": sha256,
            "resume_key": state_key,
            "resume_sha256": state_sha256,
        }
        self._channel.send("saved", resume=resume, checkpoint=record)

    def _about(self, snapshot: Snapshot) -> About:
        return replace(self._run, step=snapshot.step, batches=snapshot.batches)

    def _write(self, snapshot: Snapshot, about: About) -> tuple[Written, str]:
        name = f"step-{snapshot.step}.safetensors"
        with self._scratch(name) as path:
            written = write(path, snapshot.tensors, about)
            return written, self._put(path, name)

    def _write_state(self, point: ResumePoint) -> tuple[str, str]:
        name = f"step-{point.position.step}.resume.safetensors"
        content = to_bytes(point.state, {"position": json.dumps(point.position.to_json())})
        with self._scratch(name) as path:
            path.write_bytes(content)
            return hashlib.sha256(content).hexdigest(), self._put(path, name)

    @contextmanager
    def _scratch(self, name: str) -> Iterator[Path]:
        """A path to write to; what was not moved to its place is gone afterwards."""
        # Named by run and claim: every trainer of this machine writes to the same folder.
        path = self._files.scratch() / f"{self._folder.replace('/', '-')}-{name}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _put(self, path: Path, name: str) -> str:
        self._lifeline.check()
        key = f"{self._folder}/{name}"
        self._files.put(path, key)
        return key

    def _score(self, key: str, sha256: str) -> Scored:
        try:
            loaded = load(self._files.local(key), sha256)
        except CheckpointRefused as error:
            raise OSError(f"a file that was just written cannot be read: {error}") from error
        return self._scoring.score(loaded)


def read_resume(files: ResumeFiles) -> ResumePoint:
    """A resume point from its two files, their checksums verified.

    Raises:
        ChecksumMismatch, CheckpointRefused: a file is not what was written.
    """
    network, _ = read(Path(files.checkpoint), files.checkpoint_sha256)
    state, metadata = read(Path(files.state), files.state_sha256)
    return ResumePoint(network, state, Position.from_json(metadata["position"]))
