"""Real workers on a real Redis and a real SQLite, in processes that tests may kill."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from core import (
    checkpoints,
    datasets,
    events,
    experiments,
    operations,
    runs,
    settings,
    workers,
)
from core.checkpoints import Checkpoint
from core.claims import ResumePoint
from core.database import Database
from core.events import Event
from core.experiments import Experiment
from core.files import FileStore, open_store
from core.operations import NewOperation, Operation
from core.queue import Hints
from core.record import Run
from core.settings import Settings
from core.states import State
from model.lab.catalogue import EXPERIMENTS
from model.plan import Limits, check
from model.spec import RunSpec

FAST = {
    "slots": 2,
    "lease_seconds": 4,
    "heartbeat_seconds": 0.5,
    "tick_seconds": 0.3,
    "grace_seconds": 0.5,
    "shutdown_seconds": 10,
    "resume_seconds": 0.4,
    "metrics_seconds": 0.2,
}

RECALIBRATE: dict[str, Any] = {"method": "precise", "batch_rows": None, "seed": 0}
RECALIBRATE |= {"momentum": None, "source_rows": 16.0, "rows": None, "rows_key": None}


def until(is_true: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := is_true()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return value


@dataclass
class Service:
    """Records, files and hints of one data folder, and the workers on it."""

    settings: Settings
    database: Database
    files: FileStore
    hints: Hints
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "worker"]
        process = subprocess.Popen(command, env=settings.environment(self.settings))
        self.workers.append(process)
        until(lambda: process.pid in self.live_workers() or process.poll() is not None)
        assert process.poll() is None
        return process

    def live_workers(self) -> list[int]:
        return [w.pid for w in self.database.read(lambda c: workers.alive(c, 60))]

    def submit(self, hint: bool = True, **fields: Any) -> str:
        body = {"dataset": "digits", "network": {"kind": "mlp"}, "norm": "batch", **fields}
        new = self.new_run(RunSpec.model_validate(body))
        run_id = self.database.write(lambda c: runs.submit(c, new, 10_000)).run.id
        if hint:
            self.hints.send("cpu")
        return run_id

    def new_run(self, spec: RunSpec) -> runs.NewRun:
        dataset = self.database.read(lambda c: datasets.get(c, spec.dataset))
        checked = check(spec, dataset.facts, Limits(10**12, 10**15))
        return runs.NewRun(
            checked.spec.model_dump(mode="json"),
            checked.spec.hash,
            dataset.id,
            spec.device,
            spec.threads,
            checked.steps,
        )

    def ask(self, kind: str, seeds: Sequence[int] = (0, 1), **params: Any) -> Experiment:
        """Submit an experiment; keywords are its params."""
        given = EXPERIMENTS[kind].params.model_validate_json(json.dumps(params))
        planned = [
            experiments.PlannedRun(one.arm, one.seed, self.new_run(one.spec))
            for one in EXPERIMENTS[kind].plan(given, seeds)
        ]
        new = experiments.NewExperiment(kind, given.model_dump(mode="json"), seeds, planned)
        made = self.database.write(lambda c: experiments.submit(c, new, 10_000)).experiment
        self.hints.send("cpu")
        return made

    def experiment(self, experiment_id: str) -> Experiment:
        return self.database.read(lambda c: experiments.get(c, experiment_id))

    def until_reported(self, experiment_id: str, seconds: float = 60.0) -> Experiment:
        until(lambda: self.experiment(experiment_id).ended, seconds)
        return self.experiment(experiment_id)

    def report(self, record: Experiment, name: str = "report.json") -> Any:
        with self.files.open(f"{record.prefix}/{name}") as file:
            content = file.read()
        return json.loads(content) if name.endswith(".json") else content

    def operate(self, kind: str, checkpoint_id: str, **fields: Any) -> str:
        """Submit an operation; keywords are its params, and `dataset` whose rows it reads."""
        given = dict(fields)
        dataset = given.pop("dataset", "ds_digits" if kind == "recalibrate" else None)
        params = {"name": None} | (RECALIBRATE if kind == "recalibrate" else {}) | given
        new = NewOperation(kind, params, checkpoint_id, dataset)
        operation = self.database.write(lambda c: operations.submit(c, new, 100)).operation
        self.hints.send("cpu")
        return operation.id

    def operation(self, operation_id: str) -> Operation:
        return self.database.read(lambda c: operations.get(c, operation_id))

    def until_operated(self, operation_id: str) -> Operation:
        until(lambda: self.operation(operation_id).ended)
        return self.operation(operation_id)

    def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        return self.database.read(lambda c: checkpoints.get(c, checkpoint_id))

    def run(self, run_id: str) -> Run:
        return self.database.read(lambda c: runs.get(c, run_id))

    def until_state(self, run_id: str, *states: State, seconds: float = 60.0) -> Run:
        until(lambda: self.run(run_id).state in states, seconds)
        return self.run(run_id)

    def until_ended(self, run_id: str, seconds: float = 60.0) -> Run:
        until(lambda: self.run(run_id).ended, seconds)
        return self.run(run_id)

    def until_step(self, run_id: str, step: int) -> Run:
        until(lambda: self.run(run_id).step >= step and self.run(run_id).pid)
        return self.run(run_id)

    def until_resumable(self, run_id: str) -> ResumePoint:
        point: ResumePoint = until(lambda: self.run(run_id).resume)
        return point

    def events(self, run_id: str) -> list[Event]:
        return self.database.read(lambda c: events.after(c, run_id, 0, 10_000))

    def tensors(self, run_id: str) -> dict[str, Tensor]:
        checkpoint_id = self.run(run_id).checkpoint_id
        assert checkpoint_id is not None
        found = self.database.read(lambda c: checkpoints.get(c, checkpoint_id))
        return load_file(self.files.local(found.key))

    def sha256(self, run_id: str) -> str:
        checkpoint_id = self.run(run_id).checkpoint_id
        assert checkpoint_id is not None
        return self.database.read(lambda c: checkpoints.get(c, checkpoint_id)).sha256

    def close(self) -> None:
        for process in self.workers:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.workers:
            process.wait(30)
        self.hints.close()
        self.database.close()
        self.files.close()


def opened_service(broker_url: str, **changed: Any) -> Service:
    folder = Path(tempfile.mkdtemp(prefix="ev-worker-"))
    chosen = settings.load(**{"data": folder, "broker_url": broker_url, **FAST, **changed})
    database = Database(chosen.database_url)
    database.migrate()
    return Service(chosen, database, open_store(chosen), Hints(chosen))


@pytest.fixture
def service(own_redis: Any) -> Iterator[Service]:
    """A service of this test's own with one worker; the test may kill anything."""
    opened = opened_service(own_redis.url)
    opened.start_worker()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def steady(shared_redis: Any) -> Iterator[Service]:
    """One service for the tests of a file that kill nothing."""
    with shared_redis.client() as client:
        client.flushall()
    opened = opened_service(shared_redis.url)
    opened.start_worker()
    yield opened
    opened.close()


@pytest.fixture
def open_service() -> Callable[..., Service]:
    """Opens a service with settings of the test's own."""
    return opened_service
