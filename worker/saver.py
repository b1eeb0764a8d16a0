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
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

from core.files import FileStore
from model.checkpoint import About, Loaded, Written, load, read, to_bytes, write
from model.data.dataset import Facts
from model.errors import CheckpointRefused
from model.memory import item_bytes
from model.plan import plan
from model.spec import RunSpec
from model.statistics.chunks import chunk_rows
from model.statistics.gap import train_eval_gap
from model.training.arrays import Arrays, Part
from model.training.evaluate import evaluate
from model.training.loop import ResumePoint, Snapshot
from model.training.randomness import stream
from model.training.resume import Position
from worker.assignment import Assignment, ResumeFiles
from worker.channel import Channel
from worker.lease import Lifeline


class Saver:
    """One save at a time; a new one waits for the one before.

    Args:
        assignment: names the run and the claim that files belong to.
        open_files: opens the store that they go to, at the first save and not before: a run's
            first step need not wait for it.
        channel: where they are reported.
        lifeline: asked before a file takes its place.
        about: what the checkpoints say of the run, and the rows that they are scored on.
    """

    def __init__(
        self,
        assignment: Assignment,
        open_files: Callable[[], FileStore],
        channel: Channel,
        lifeline: Lifeline,
        about: "RunAbout",
    ) -> None:
        self._folder = f"runs/{assignment.run}/e{assignment.epoch}"
        self._open_files, self._channel, self._lifeline = open_files, channel, lifeline
        self._about = about
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
        written, key = self._write(snapshot)
        return {
            "step": snapshot.step,
            "key": key,
            "sha256": written.sha256,
            "bytes": written.num_bytes,
            "fingerprint": written.statistics,
            "weights_hash": written.weights,
            "norm_layers": written.norm_layers,
            "metrics": self._score(key, written.sha256),
        }

    def _save(self, point: ResumePoint, snapshot: Snapshot | None) -> None:
        step = point.position.step
        state_sha256, state_key = self._write_state(point)
        record = self.checkpoint(snapshot) if snapshot else None
        if record is None:
            written, key = self._write(Snapshot(step, point.network))
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

    def _write(self, snapshot: Snapshot) -> tuple[Written, str]:
        name = f"step-{snapshot.step}.safetensors"
        with self._scratch(name) as path:
            written = write(path, snapshot.tensors, self._about.at(snapshot.step))
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

    def _score(self, key: str, sha256: str) -> dict[str, float | None]:
        try:
            loaded = load(self._files.local(key), sha256)
        except CheckpointRefused as error:
            raise OSError(f"a file that was just written cannot be read: {error}") from error
        return self._about.score(loaded)


class RunAbout:
    """What every checkpoint of a run shares, and the rows that score it."""

    def __init__(self, spec: RunSpec, facts: Facts, arrays: Arrays) -> None:
        self._spec, self._facts, self._arrays = spec, facts, arrays

    def at(self, step: int) -> About:
        """The metadata of the checkpoint at a step."""
        return About(self._spec, self._facts, self._arrays.scaling, step)

    def score(self, loaded: Loaded) -> dict[str, float | None]:
        """Loss and accuracy of a checkpoint, by metric name; null if not finite."""
        assert self._spec.loss is not None
        kind, scores = self._spec.loss.kind, dict[str, float | None]()
        for name, part in self._parts():
            for key, value in evaluate(loaded.network, kind, part, loaded.block_rows).items():
                scores[f"{name}_{key}"] = _finite(value)
        return scores | self._gap(loaded)

    def _gap(self, loaded: Loaded) -> dict[str, float | None]:
        """What eval mode costs on the test rows, or on those that stand in for them."""
        assert self._spec.loss is not None
        gap = train_eval_gap(
            loaded.network,
            self._spec.loss.kind,
            self._parts()[-1][1],
            stream(self._spec.seed, "gap"),  # the same rows in the same order at every step
            chunk_rows=chunk_rows(plan(self._spec, self._facts), item_bytes(self._spec)),
            batch_size=self._spec.batch_size,
            attribute=False,
        )
        if gap is None:
            return {}
        known = {"": gap.points, "_batch": gap.batch_points, "_loss": gap.loss}
        return {
            f"train_eval_gap{end}": _finite(value)
            for end, value in known.items()
            if value is not None
        }

    def _parts(self) -> list[tuple[str, Part]]:
        """The held-out rows; without any, the training rows under a name of their own.

        The metric `train_loss` is another number: of training mode, while weights move.
        """
        arrays = self._arrays
        held_out = [("validation", arrays.validation), ("test", arrays.test)]
        return [(n, part.cpu()) for n, part in held_out if len(part)] or [
            ("train_in_eval_mode", arrays.train.cpu())
        ]


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def read_resume(files: ResumeFiles) -> ResumePoint:
    """A resume point from its two files, their checksums verified.

    Raises:
        ChecksumMismatch, CheckpointRefused: a file is not what was written.
    """
    network, _ = read(Path(files.checkpoint), files.checkpoint_sha256)
    state, metadata = read(Path(files.state), files.state_sha256)
    return ResumePoint(network, state, Position.from_json(metadata["position"]))
