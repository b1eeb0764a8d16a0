"""Runs to test with: a dataset they may read, and functions that submit and claim one."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert

from core import claims, runs
from core.claims import Owner
from core.database import Database
from core.runs import NewRun, Run
from core.tables import datasets

OWNER = Owner("worker-1", "host-1", "cpu", 4321, 99)


@pytest.fixture
def with_dataset(database: Database) -> Database:
    """A database in which the dataset `ds_rows` exists."""
    row: dict[str, Any] = {"id": "ds_rows", "name": "rows", "format": "csv", "facts": {}}
    row |= {"fingerprint": "sha256:0", "prefix": "datasets/ds_rows", "bytes": 1}
    row |= {"built_in": False, "created_at": 1.0}
    database.write(lambda c: c.execute(insert(datasets), row) and None)
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
