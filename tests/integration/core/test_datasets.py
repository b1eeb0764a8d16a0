from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from core import datasets, operation_claims, operations, runs
from core.database import Database
from core.datasets import NewDataset
from core.errors import BadCursor, DatasetBuiltIn, DatasetInUse, DatasetNotFound
from core.files import FileStore
from core.ids import new_id
from core.leases import Owner
from core.local_files import LocalFiles
from core.operations import NewOperation
from core.runs import Run
from model.data.builtin import BUILTIN, build
from model.data.dataset import Facts, load

FACTS = Facts(
    rows=10,
    input_shape=(3, 8, 8),
    classes=("a", "é"),
    outputs=2,
    task="classification",
    train_rows=8,
    test_rows=2,
    images=True,
    fingerprint="sha256:1",
)


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    return LocalFiles(tmp_path / "files")


def upload(database: Database, name: str = "rows") -> datasets.Dataset:
    new_one = new_id("ds")
    new = NewDataset(new_one, name, "image_zip", FACTS, f"datasets/{new_one}", 2**40)
    return database.write(lambda c: datasets.insert_one(c, new))


def test_an_upload_reads_back(database: Database) -> None:
    uploaded = upload(database)
    found = database.read(lambda c: datasets.get(c, uploaded.id))
    assert found == uploaded
    assert (found.facts, found.fingerprint, found.built_in) == (FACTS, "sha256:1", False)
    assert found.keys == tuple(f"datasets/{found.id}/{name}" for name in datasets.FILES)


@pytest.mark.parametrize(
    ("name", "reasons"), [("wine", ["ROWS_CLASS_SORTED"]), ("digits", []), ("gaussian_linear", [])]
)
def test_a_built_in_dataset_that_is_sorted_by_class_says_so(
    database: Database, files: FileStore, name: str, reasons: list[str]
) -> None:
    datasets.ensure_builtin(database, files)
    found = database.read(lambda c: datasets.get(c, name)).findings
    assert found is not None
    assert [one["reason"] for one in found] == reasons


def test_a_name_means_its_newest_dataset(database: Database) -> None:
    first, second = upload(database, "rows"), upload(database, "rows")
    upload(database, "others")
    assert database.read(lambda c: datasets.get(c, "rows")) == second
    assert database.read(lambda c: datasets.get(c, first.id)) == first
    database.write(lambda c: datasets.delete(c, second.id))
    assert database.read(lambda c: datasets.get(c, "rows")) == first


@pytest.mark.parametrize(
    "name", ["none", "ds_" + "0" * 32, "", "\x00", "\ud800", "../x", "x" * 101]
)
def test_what_names_nothing_is_not_found(database: Database, name: str) -> None:
    with pytest.raises(DatasetNotFound):
        database.read(lambda c: datasets.get(c, name))
    with pytest.raises(DatasetNotFound):
        database.write(lambda c: datasets.delete(c, name))


def test_a_dataset_is_deleted_by_its_id_or_as_the_newest_of_its_name(database: Database) -> None:
    first, second, third = (upload(database) for _ in range(3))
    assert database.write(lambda c: datasets.delete(c, "rows")) == third
    assert database.write(lambda c: datasets.delete(c, first.id)) == first
    assert database.read(lambda c: datasets.get(c, "rows")) == second


def test_a_dataset_stays_while_a_run_may_read_it(
    with_dataset: Database, submit: Callable[..., Run]
) -> None:
    uploaded = upload(with_dataset)
    run = submit(dataset_id=uploaded.id)
    with pytest.raises(DatasetInUse) as refused:
        with_dataset.write(lambda c: datasets.delete(c, uploaded.id))
    assert refused.value.metadata == {"run": run.id}
    with_dataset.write(lambda c: runs.cancel(c, run.id))
    with_dataset.write(lambda c: datasets.delete(c, uploaded.id))


def test_a_dataset_stays_while_an_operation_may_read_it(database: Database) -> None:
    uploaded = upload(database)
    new = NewOperation("recalibrate", {}, dataset_id=uploaded.id)
    operation = database.write(lambda c: operations.submit(c, new, 9)).operation
    owner = Owner("worker-1", "host-1", "cpu")
    with pytest.raises(DatasetInUse) as refused:
        database.write(lambda c: datasets.delete(c, uploaded.id))
    assert refused.value.metadata == {"operation": operation.id}
    assert operation.id in refused.value.message
    database.write(lambda c: operation_claims.claim(c, operation.id, owner, 45))
    database.write(lambda c: operation_claims.finish(c, operation.id, 1, {}))
    database.write(lambda c: datasets.delete(c, uploaded.id))


def test_pages_lead_from_the_newest_to_the_oldest(database: Database) -> None:
    ids = [upload(database, f"rows-{i}").id for i in range(5)]
    first = database.read(lambda c: datasets.page(c, 3))
    assert ([d.id for d in first.data], first.has_more) == (ids[:1:-1], True)
    rest = database.read(lambda c: datasets.page(c, 3, first.data[-1].id))
    assert ([d.id for d in rest.data], rest.has_more) == (ids[1::-1], False)
    for after in ("rows-1", "ds_none", "\x00"):
        with pytest.raises(BadCursor):
            database.read(lambda c, after=after: datasets.page(c, 3, after))
    with pytest.raises(ValueError, match="1 to 100"):
        database.read(lambda c: datasets.page(c, 101))


def test_the_built_in_datasets_are_always_there(database: Database, files: FileStore) -> None:
    datasets.ensure_builtin(database, files)
    page = database.read(lambda c: datasets.page(c))
    assert sorted(d.id for d in page.data) == sorted(f"ds_{name}" for name in BUILTIN)
    digits = database.read(lambda c: datasets.get(c, "digits"))
    assert (digits.id, digits.built_in, digits.facts.rows) == ("ds_digits", True, 1797)
    folder = files.local(digits.keys[0]).parent
    stored, made = load(folder), build("digits")
    assert stored.facts == made.facts == digits.facts
    assert np.array_equal(stored.inputs, made.inputs)
    assert sum(files.size(key) for key in digits.keys) == digits.bytes


def test_a_second_start_makes_nothing_again_but_what_is_missing(
    database: Database, files: FileStore
) -> None:
    datasets.ensure_builtin(database, files)
    digits, wine = (database.read(lambda c, n=n: datasets.get(c, n)) for n in ("digits", "wine"))
    files.delete(wine.keys[0])
    untouched = files.local(digits.keys[0]).stat()
    datasets.ensure_builtin(database, files)
    assert files.local(digits.keys[0]).stat().st_mtime_ns == untouched.st_mtime_ns
    assert database.read(lambda c: datasets.get(c, "wine")) == wine
    assert sum(files.size(key) for key in wine.keys) == wine.bytes


def test_several_processes_may_make_the_built_in_datasets_at_once(
    database: Database, files: FileStore
) -> None:
    with ThreadPoolExecutor(3) as threads:
        made = [threads.submit(datasets.ensure_builtin, database, files) for _ in range(3)]
        assert [one.result() for one in made] == [None] * 3
    assert len(database.read(lambda c: datasets.page(c)).data) == len(BUILTIN)
    assert list(files.scratch().iterdir()) == []


def test_the_name_of_a_built_in_dataset_is_taken(database: Database, files: FileStore) -> None:
    datasets.ensure_builtin(database, files)
    with pytest.raises(DatasetBuiltIn) as refused:
        upload(database, "digits")
    assert refused.value.metadata == {"name": "digits"}
    with pytest.raises(DatasetBuiltIn):
        database.write(lambda c: datasets.delete(c, "ds_digits"))
