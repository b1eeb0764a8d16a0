"""A real server in a thread, on SQLite and Redis; states that need a worker are driven by hand."""

import io
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from sqlalchemy import Connection
from torch import nn

from api.main import create_app
from api.server import Server
from api.stored import load
from core import (
    checkpoints,
    claims,
    datasets,
    experiment_moves,
    operation_claims,
    operations,
    revisions,
    runs,
)
from core.checkpoints import Checkpoint, NewCheckpoint
from core.claims import Owner, Point, Report
from core.database import Database
from core.errors import DatabaseUnavailable
from core.experiment_moves import NewReport
from core.files import FileStore, open_store
from core.ids import new_id
from core.operations import Operation
from core.queue import Hints
from core.record import Run
from core.revisions import NewRevision
from core.settings import Settings
from core.states import Outcome
from model import checkpoint
from model.checkpoint import About
from model.data.dataset import Dataset
from model.data.dataset import load as load_dataset
from model.data.scaling import Scaling
from model.networks.build import build
from model.networks.init import initialize
from model.plan import plan
from model.spec import RunSpec
from model.statistics.drift.calibration import calibration
from model.training.arrays import prepare
from worker.channel import Channel
from worker.lease import Lifeline
from worker.report_inputs import assign_report
from worker.reporting import Reporting
from worker.scoring import Scored, Scoring
from worker.services import Services as WorkerServices

SPEC: dict[str, Any] = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [5]}}
PAIR: dict[str, Any] = {"kind": "pair", "params": {"base": SPEC}, "seeds": [0, 1]}
OWNER = Owner("worker-1", "host", "cpu")


@dataclass(frozen=True)
class Service:
    """A running server, and the records and files behind it."""

    url: str
    settings: Settings
    database: Database
    files: FileStore

    def submit(self, **changes: Any) -> dict[str, Any]:
        """The run that the service makes of a small spec."""
        answer = httpx.post(f"{self.url}/v1/runs", json=SPEC | changes)
        assert answer.status_code == 202, answer.text
        run: dict[str, Any] = answer.json()
        return run

    def claim(self, run_id: str) -> int:
        """Make a worker of ours the owner of a run, and return the epoch."""
        run = self.database.write(lambda c: claims.claim(c, run_id, OWNER, 3_600))
        assert run is not None
        return run.epoch

    def add_checkpoint(self, run_id: str, epoch: int, step: int = 1, passes: int = 0) -> str:
        """Put a real checkpoint of the run's network into the store and record it.

        `passes` batches of its dataset have moved its statistics; with none they are those of
        the beginning. With some, what calibrates drift is in it, too.
        """
        run = self.database.read(lambda c: runs.get(c, run_id))
        key = f"runs/{run_id}/e{epoch}/step-{step}.safetensors"
        new = write_checkpoint(self, run, key, step, passes)
        return self.database.write(lambda c: claims.add_checkpoint(c, run_id, epoch, new))

    def add_scored(self, run_id: str, epoch: int, step: int = 1) -> str:
        """The same, with everything that a worker finds of a checkpoint."""
        run = self.database.read(lambda c: runs.get(c, run_id))
        new = write_checkpoint(self, run, f"runs/{run_id}/e{epoch}/step-{step}.safetensors", step)
        scored = replace(new, **vars(score(self, run, new)))
        return self.database.write(lambda c: claims.add_checkpoint(c, run_id, epoch, scored))

    def add_revision(self, checkpoint_id: str, shift: float = 1.0, **more: Any) -> str:
        """Record a revision whose running means are the checkpoint's, moved by `shift`."""
        record = self.database.read(lambda c: checkpoints.get(c, checkpoint_id))
        new = replace(write_revision(self, record, shift), **more)
        return self.database.write(lambda c: revisions.insert_one(c, record.id, new)).id

    def ask(self, **changes: Any) -> dict[str, Any]:
        """The experiment that the service makes of a small pair."""
        answer = httpx.post(f"{self.url}/v1/experiments", json=PAIR | changes, timeout=30)
        assert answer.status_code == 202, answer.text
        experiment: dict[str, Any] = answer.json()
        return experiment

    def end_runs(self, experiment: dict[str, Any]) -> None:
        """Let every run of an experiment succeed, with a checkpoint and a point of a metric."""
        for i, run in enumerate(experiment["runs"]):
            epoch = self.claim(run["id"])
            self.add_checkpoint(run["id"], epoch)
            told = Report(1, points=[Point("test_accuracy", 1, 0.5 + 0.1 * (i % 2))])
            self.database.write(
                lambda c, run=run["id"], epoch=epoch, told=told: claims.report(c, run, epoch, told)
            )
            self.database.write(
                lambda c, run=run["id"], epoch=epoch: claims.finish(
                    c, run, epoch, Outcome.COMPLETED
                )
            )

    def claim_report(self, experiment_id: str) -> Operation:
        """Make a worker of ours the owner of the operation that makes a report."""
        queued = self.database.read(lambda c: operations.of_experiments(c, [experiment_id]))
        owned = self.database.write(
            lambda c: operation_claims.claim(c, queued[experiment_id], OWNER, 3_600)
        )
        assert owned is not None
        return owned

    def report(self, experiment: dict[str, Any]) -> None:
        """End an experiment with the report that a worker makes of its runs."""
        self.end_runs(experiment)
        owned = self.claim_report(experiment["id"])
        told = NewReport(**report_of(self, owned))

        def finish(c: Connection) -> None:
            operation_claims.finish(c, owned.id, owned.epoch, {"experiment": experiment["id"]})
            experiment_moves.reported(c, experiment["id"], told)

        self.database.write(finish)

    def train(self, passes: int = 0, **changes: Any) -> dict[str, Any]:
        """A run that has succeeded, with one checkpoint; see `add_checkpoint`."""
        run_id = self.submit(**changes)["id"]
        epoch = self.claim(run_id)
        self.add_checkpoint(run_id, epoch, passes=passes)
        self.database.write(lambda c: claims.finish(c, run_id, epoch, Outcome.COMPLETED))
        run: dict[str, Any] = httpx.get(f"{self.url}/v1/runs/{run_id}").json()
        return run


def report_of(service: Service, owned: Operation) -> dict[str, Any]:
    """What the process of a worker writes and says of an experiment's report."""
    hints = Hints(service.settings)
    worker = WorkerServices(service.settings, service.database, service.files, hints)
    here, there = Pipe()
    with assign_report(worker, owned) as assignment, here, there:
        channel = Channel(there)
        Reporting(assignment, channel, Lifeline(channel, assignment.timing)).run()
        while (message := Channel(here).receive())["kind"] != "done":
            pass
    hints.close()
    told: dict[str, Any] = message["report"]
    return told


def write_checkpoint(
    service: Service, run: Run, key: str, step: int, passes: int = 0
) -> NewCheckpoint:
    spec = RunSpec.model_validate(run.spec)
    facts = service.database.read(lambda c: datasets.get(c, run.dataset_id)).facts
    network = build(plan(spec, facts), dtype=torch.float32)
    initialize(network, plan(spec, facts), spec.init, torch.Generator().manual_seed(step))
    scaling = Scaling.fit("none", np.zeros((2, *facts.input_shape)), facts.images)
    about = About(spec, facts, scaling, step)
    if passes:
        rows = torch.from_numpy(scaling.apply(rows_of(service, run).inputs, dtype=np.float32))
        about = moved(network, rows, passes, about)
    path = service.files.scratch() / secrets.token_hex(8)
    written = checkpoint.write(path, network.state_dict(), about)
    service.files.put(written.path, key)
    return NewCheckpoint(
        step=step,
        key=key,
        sha256=written.sha256,
        bytes=written.num_bytes,
        fingerprint=written.statistics,
        norm_layers=written.norm_layers,
        weights_hash=written.weights,
        metrics={"test_accuracy": 0.5},
    )


def rows_of(service: Service, run: Run) -> Dataset:
    keys = service.database.read(lambda c: datasets.get(c, run.dataset_id)).keys
    [folder] = {service.files.local(key).parent for key in keys}
    return load_dataset(folder)


def moved(network: nn.Module, rows: torch.Tensor, passes: int, about: About) -> About:
    """What is said of a network whose statistics so many batches have moved."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(passes):
            network.train()(rows[torch.randint(len(rows), (64,), generator=generator)])
    known = calibration(network.eval(), rows, rows, 1_000, generator)
    return replace(about, batches=passes, drift=known)


def score(service: Service, run: Run, new: NewCheckpoint) -> Scored:
    dataset, spec = rows_of(service, run), RunSpec.model_validate(run.spec)
    arrays = prepare(dataset, spec, torch.device("cpu"))
    scoring = Scoring(spec, dataset.facts, arrays, moved=lambda: None)
    return scoring.score(checkpoint.load(service.files.local(new.key), new.sha256))


def write_revision(service: Service, record: Checkpoint, shift: float) -> NewRevision:
    loaded = load(service.files, record)
    tensors = {
        name: one + shift if name.endswith("running_mean") else one
        for name, one in loaded.network.state_dict().items()
    }
    about = replace(loaded.about, made_by={"method": "precise", "seed": 0})
    path = service.files.scratch() / secrets.token_hex(8)
    written = checkpoint.write_revision(path, tensors, about)
    key = revisions.statistics_key(new_id("op"), 1)
    service.files.put(written.path, key)
    return NewRevision(
        statistics_key=key,
        sha256=written.sha256,
        bytes=written.num_bytes,
        fingerprint=written.statistics,
        weights_hash=written.weights,
        metrics={"test_accuracy": 0.75},
        made_by={"method": "precise", "seed": 0},
    )


@contextmanager
def serving(settings: Settings) -> Iterator[Service]:
    """Serve in a thread until the block ends."""
    server = Server(create_app(settings), settings)
    thread = threading.Thread(target=server.run, name="server")
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    files = open_store(settings)
    try:
        with Database(settings.database_url) as database:
            yield Service(f"http://127.0.0.1:{port}", settings, database, files)
    finally:
        server.should_exit = True
        thread.join()
        files.close()


@pytest.fixture
def serve() -> Callable[[Settings], Any]:
    """Serve with settings of a test's own."""
    return serving


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, shared_redis: Any) -> Iterator[Service]:
    """One service for all tests that only add to it."""
    data = tmp_path_factory.mktemp("service")
    settings = Settings(data=data, port=0, broker_url=shared_redis.url, min_free_bytes=0)
    with serving(settings) as service:
        yield service


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def trained(service: Service) -> dict[str, Any]:
    """A run with a checkpoint."""
    return service.train(norm="batch")


@pytest.fixture(scope="session")
def sound(service: Service) -> dict[str, Any]:
    """A run whose checkpoint has sound statistics, and what calibrates drift."""
    return service.train(passes=40, norm="batch")


@pytest.fixture(scope="session")
def scored(service: Service) -> dict[str, Any]:
    """A run with checkpoints at steps 1, 2 and 3, as a worker records them, in `checkpoints`."""
    run_id = service.submit(norm="batch")["id"]
    epoch = service.claim(run_id)
    made = [service.add_scored(run_id, epoch, step) for step in (1, 2, 3)]
    return {"id": run_id, "checkpoints": made}


@pytest.fixture(scope="session")
def reported(service: Service) -> dict[str, Any]:
    """An experiment with its report."""
    experiment = service.ask()
    service.report(experiment)
    told: dict[str, Any] = httpx.get(f"{service.url}/v1/experiments/{experiment['id']}").json()
    return told


@pytest.fixture
def lost_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit stands, and the connection breaks before that is heard."""
    real = Database.awrite

    async def awrite(database: Database, work: Any, durable: bool = True) -> Any:
        await real(database, work, durable)
        raise DatabaseUnavailable()

    monkeypatch.setattr(Database, "awrite", awrite)


@pytest.fixture
def stored() -> Callable[[Service], list[str]]:
    """Every file below the data folder's file store, scratch included."""

    def listing(service: Service) -> list[str]:
        root = Path(service.settings.files_url)
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    return listing


@pytest.fixture
def npz() -> Callable[..., bytes]:
    """The bytes of an npz file."""

    def pack(**arrays: Any) -> bytes:
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()

    return pack
