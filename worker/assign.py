"""From what is claimed to what its process is told: every file on this machine, under a path."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import Connection

from core import checkpoints, datasets, revisions
from core.checkpoints import Checkpoint
from core.claims import ResumePoint
from core.datasets import Dataset
from core.errors import DatasetNotFound, FileMissing
from core.files import FileStore
from core.operations import Operation
from core.record import Run
from core.settings import Settings
from core.uses import DONOR
from worker.assignment import (
    Assignment,
    CheckpointFiles,
    OperationAssignment,
    ResumeFiles,
    Timing,
)
from worker.services import Services


class ResumeLost(Exception):
    """A file of the resume point is gone: training can only begin again."""


@contextmanager
def assign(services: Services, run: Run, visible_device: str | None) -> Iterator[Assignment]:
    """Bring the run's dataset and resume point to this machine for as long as it trains."""
    dataset = services.database.read(lambda c: datasets.get(c, run.dataset_id))
    with brought(services.files, dataset.keys) as folder:
        yield Assignment(
            run=run.id,
            epoch=run.epoch,
            spec=run.spec,
            dataset=str(folder),
            device="cpu" if visible_device is None else "cuda",
            visible_device=visible_device,
            timing=timing(services.settings),
            settings=services.settings.model_dump(mode="json"),
            resume=_resume(services.files, run.resume),
        )


@contextmanager
def assign_operation(
    services: Services, operation: Operation, visible_device: str | None
) -> Iterator[OperationAssignment]:
    """Bring an operation's checkpoints and rows to this machine for as long as it works.

    Raises:
        CheckpointNotFound, DatasetNotFound, FileMissing: what it needs is gone.
    """
    files, params = services.files, operation.params
    checkpoint, donor, home, rows = services.database.read(lambda c: _needed(c, operation))
    rows_key = params.get("rows_key")
    with ExitStack() as stack:

        def folder(dataset: Dataset | None) -> str | None:
            return (
                None if dataset is None else str(stack.enter_context(brought(files, dataset.keys)))
            )

        yield OperationAssignment(
            operation=operation.id,
            epoch=operation.epoch,
            kind=operation.kind,
            params=params,
            checkpoint=_checkpoint(files, checkpoint),
            donor=None if donor is None else _checkpoint(files, donor),
            home=folder(home),
            dataset=operation.dataset_id,
            rows_folder=folder(rows),
            rows_file=rows_key and str(files.local(rows_key)),
            statistics_key=revisions.statistics_key(operation.id, operation.epoch),
            device="cpu" if visible_device is None else "cuda",
            visible_device=visible_device,
            threads=operation.threads,
            timing=timing(services.settings),
            settings=services.settings.model_dump(mode="json"),
        )


def _needed(
    c: Connection, operation: Operation
) -> tuple[Checkpoint, Checkpoint | None, Dataset | None, Dataset | None]:
    """The checkpoint, the donor of its statistics, its own dataset, and that of the rows."""
    assert operation.checkpoint_id is not None
    checkpoint = checkpoints.get(c, operation.checkpoint_id)
    donor = operation.params.get(DONOR)
    rows = operation.dataset_id
    return (
        checkpoint,
        None if donor is None else checkpoints.get(c, donor),
        _home(c, checkpoint),
        None if rows is None else datasets.get(c, rows),
    )


def _home(c: Connection, checkpoint: Checkpoint) -> Dataset | None:
    """What the checkpoint was trained on; None where that is gone or never was here."""
    try:
        return datasets.get(c, checkpoint.spec["dataset"])
    except DatasetNotFound:
        return None


def _checkpoint(files: FileStore, record: Checkpoint) -> CheckpointFiles:
    own = record.statistics_key
    statistics = None if own is None else str(files.local(own))
    return CheckpointFiles(str(files.local(record.key)), statistics, record.sha256)


@contextmanager
def brought(files: FileStore, keys: tuple[str, ...]) -> Iterator[Path]:
    """A folder of this machine with some files under their own names."""
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


def timing(settings: Settings) -> Timing:
    """What a child must know of when to say, save and stop."""
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
