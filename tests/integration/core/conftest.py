"""Runs and checkpoints to test with, and the dataset that they may read."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import insert

from core import checkpoints, claims, runs
from core.checkpoints import NewCheckpoint, Origin
from core.claims import Owner
from core.database import Database
from core.runs import NewRun, Run
from core.tables import datasets
from tests.races import Race

OWNER = Owner("worker-1", "host-1", "cpu", 4321, 99)
DATASET: dict[str, Any] = {"id": "ds_rows", "name": "rows", "format": "csv", "facts": {}}
DATASET |= {"fingerprint": "sha256:0", "prefix": "datasets/ds_rows", "bytes": 1}
DATASET |= {"built_in": False, "created_at": 1.0}


@pytest.fixture
def with_dataset(database: Database) -> Database:
    """A database in which the dataset `ds_rows` exists."""
    database.write(lambda c: c.execute(insert(datasets), DATASET) and None)
    return database


@pytest.fixture
def submit(with_dataset: Database) -> Callable[..., Run]:
    """Accepts one run; keywords replace fields of its `NewRun`."""

    def submit_one(**changes: Any) -> Run:
        fields: dict[str, Any] = {"spec": {"dataset": "rows"}, "spec_hash": "sha256:1"}
        fields |= {"dataset_id": "ds_rows", "device": "auto", "threads": 1, "steps": 100}
        new = NewRun(**fields | changes)
        return with_dataset.write(lambda c: runs.submit(c, new, 1000)).run

    return submit_one


@pytest.fixture
def claim(with_dataset: Database, submit: Callable[..., Run]) -> Callable[..., Run]:
    """Claims a run, a fresh one unless it is given."""

    def claim_one(run: Run | None = None, lease_seconds: float = 45) -> Run:
        run_id = (run or submit()).id
        claimed = with_dataset.write(lambda c: claims.claim(c, run_id, OWNER, lease_seconds))
        assert claimed is not None
        return claimed

    return claim_one


@pytest.fixture
def trained() -> Callable[..., str]:
    """Records one checkpoint, of a run where one is given; keywords replace its fields."""

    def insert_one(database: Database, run: Run | None = None, **changes: Any) -> str:
        key = f"runs/{run.id}/e1/step-7.safetensors" if run else "imports/one.safetensors"
        fields: dict[str, Any] = {"step": 7, "key": key, "sha256": "a" * 64, "bytes": 2**40}
        fields |= {"fingerprint": "sha256:f", "norm_layers": 2, "weights_hash": "sha256:w"}
        new = NewCheckpoint(**fields | {"metrics": {"test_loss": None}} | changes)
        origin = Origin({"dataset": "rows"}, run.id if run else None, 1 if run else 0)
        return database.write(lambda c: checkpoints.insert_one(c, new, origin))

    return insert_one


@pytest.fixture(params=["sqlite", "postgres"])
def actors(request: pytest.FixtureRequest) -> Iterator[list[Database]]:
    """Eight processes' worth of access to one database."""
    url = request.getfixturevalue(f"{request.param}_url")
    with ExitStack() as stack:
        opened = [stack.enter_context(Database(url)) for _ in range(8)]
        opened[0].write(lambda c: c.execute(insert(datasets), DATASET) and None)
        yield opened


@pytest.fixture
def race(actors: list[Database]) -> Iterator[Race]:
    """Acts of all actors at one instant."""
    with ThreadPoolExecutor(len(actors)) as threads:
        yield Race(actors, threads)
