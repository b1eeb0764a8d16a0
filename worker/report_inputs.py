"""What a report is made from, brought to this machine: records in one file, checkpoints, rows.

The records may be many, so they do not go over the pipe: one line of JSON for each run.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import datasets, experiments, report_inputs
from core.checkpoints import Checkpoint
from core.experiments import Experiment, Place
from core.operations import Operation
from core.record import Run
from worker.assign import brought, timing
from worker.assignment import ReportAssignment
from worker.services import Services


@contextmanager
def assign_report(services: Services, operation: Operation) -> Iterator[ReportAssignment]:
    """Bring everything that an experiment's report reads, for as long as it is made.

    Raises:
        ExperimentNotFound, DatasetNotFound, FileMissing: what it needs is gone.
    """
    assert operation.experiment_id is not None
    experiment_id = operation.experiment_id
    experiment = services.database.read(lambda c: experiments.get(c, experiment_id))
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(services))
        _write(services, stack, experiment, folder)
        yield ReportAssignment(
            operation=operation.id,
            epoch=operation.epoch,
            experiment=experiment.id,
            kind=experiment.kind,
            params=experiment.params,
            seeds=experiment.seeds,
            runs=str(folder / "runs.jsonl"),
            prefix=experiments.report_prefix(experiment.id, operation.epoch),
            threads=operation.threads,
            timing=timing(services.settings),
            settings=services.settings.model_dump(mode="json"),
        )


@contextmanager
def _folder(services: Services) -> Iterator[Path]:
    folder = services.files.scratch() / f"report-{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(services: Services, stack: ExitStack, experiment: Experiment, folder: Path) -> None:
    """One line for each run of the plan, in its order."""
    found = {
        run.id: run
        for run in services.database.read(lambda c: experiments.runs_of(c, experiment.id))
    }
    rows = _Rows(services, stack)
    with (folder / "runs.jsonl").open("w") as file:
        for place in experiment.plan:
            if place.run in found:
                told = _told(services, rows, folder, place, found[place.run])
                file.write(json.dumps(told, allow_nan=False) + "\n")


@dataclass
class _Rows:
    """The datasets of the runs, each brought once."""

    services: Services
    stack: ExitStack

    def __post_init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, dataset_id: str) -> str:
        if dataset_id not in self._folders:
            dataset = self.services.database.read(lambda c: datasets.get(c, dataset_id))
            there = self.stack.enter_context(brought(self.services.files, dataset.keys))
            self._folders[dataset_id] = str(there)
        return self._folders[dataset_id]


def _told(
    services: Services, rows: _Rows, folder: Path, place: Place, run: Run
) -> Mapping[str, Any]:
    left = services.database.read(lambda c: report_inputs.of_run(c, run.id, run.checkpoint_id))
    return {
        "id": run.id,
        "arm": place.arm,
        "seed": place.seed,
        "spec": run.spec,
        "state": run.state.value,
        "outcome": run.outcome.value if run.outcome else None,
        "why": run.error["message"] if run.error else None,
        "step": run.step,
        "steps": run.steps,
        "device": run.worker_device,
        "dataset": rows.of(run.dataset_id),
        "series": left.series,
        "measured": left.measured,
        "checkpoints": [_linked(services, folder, one) for one in left.checkpoints],
    }


def _linked(services: Services, folder: Path, record: Checkpoint) -> Mapping[str, Any]:
    """A checkpoint under a name of our own: a copy from S3 may leave its cache meanwhile."""
    path = folder / f"{record.id}.safetensors"
    os.link(services.files.local(record.key), path)
    told = {"step": record.step, "sha256": record.sha256, "metrics": record.metrics}
    return told | {"path": str(path)}
