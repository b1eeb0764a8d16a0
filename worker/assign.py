"""From a claimed run to what its trainer is told: every file on this machine, under a path."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core import datasets
from core.claims import ResumePoint
from core.errors import FileMissing
from core.files import FileStore
from core.record import Run
from core.settings import Settings
from worker.assignment import Assignment, ResumeFiles, Timing
from worker.services import Services


class ResumeLost(Exception):
    """A file of the resume point is gone: training can only begin again."""


@contextmanager
def assign(services: Services, run: Run, visible_device: str | None) -> Iterator[Assignment]:
    """Bring the run's dataset and resume point to this machine for as long as it trains."""
    dataset = services.database.read(lambda c: datasets.get(c, run.dataset_id))
    with _folder(services.files, dataset.keys) as folder:
        yield Assignment(
            run=run.id,
            epoch=run.epoch,
            spec=run.spec,
            dataset=str(folder),
            device="cpu" if visible_device is None else "cuda",
            visible_device=visible_device,
            timing=_timing(services.settings),
            settings=services.settings.model_dump(mode="json"),
            resume=_resume(services.files, run.resume),
        )


@contextmanager
def _folder(files: FileStore, keys: tuple[str, ...]) -> Iterator[Path]:
    paths = {key.rpartition("/")[2]: files.local(key) for key in keys}
    if all(path.name == name for name, path in paths.items()):
        yield next(iter(paths.values())).parent
        return
    # Copies from S3 have other names and may leave their cache; links hold them.
    folder = files.scratch() / f"dataset-{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        for name, path in paths.items():
            os.link(path, folder / name)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _timing(settings: Settings) -> Timing:
    return Timing(
        settings.heartbeat_seconds,
        settings.self_fence_seconds,
        settings.resume_seconds,
        settings.metrics_seconds,
        settings.stall_seconds,
    )


def _resume(files: FileStore, point: ResumePoint | None) -> ResumeFiles | None:
    if point is None:
        return None
    try:
        checkpoint, state = files.local(point.checkpoint_key), files.local(point.resume_key)
    except FileMissing as error:
        raise ResumeLost(error.message) from error
    return ResumeFiles(str(checkpoint), point.checkpoint_sha256, str(state), point.resume_sha256)
