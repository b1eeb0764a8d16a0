from pathlib import Path

import pytest

from core import workers
from core.database import Database
from core.workers import Worker
from worker import health
from worker.services import host_identity


@pytest.fixture
def records(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("EVALMODE_DATABASE_URL", sqlite_url)
    return Database(sqlite_url)


def beat(records: Database, host: str) -> None:
    with records:
        records.write(lambda c: workers.beat(c, Worker("worker-1", host, 1, "cpu", 2)))


def test_a_worker_that_beats_on_this_machine_is_healthy(records: Database) -> None:
    beat(records, host_identity())
    assert health.main() == 0


def test_a_worker_of_another_machine_says_nothing_about_this_one(records: Database) -> None:
    beat(records, "elsewhere")
    assert health.main() == 1


def test_records_that_cannot_be_read_are_not_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALMODE_DATABASE_URL", f"sqlite:///{tmp_path}/none/evalmode.db")
    assert health.main() == 1
