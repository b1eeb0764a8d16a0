"""Records of datasets: what is known of each, and where its files lie. It reads no row of data."""

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, insert, or_, select, tuple_
from sqlalchemy import delete as sql_delete
from sqlalchemy.exc import IntegrityError

from core import idempotency
from core.clock import now
from core.database import Database
from core.errors import BadCursor, DatasetBuiltIn, DatasetInUse, DatasetNotFound, FileMissing
from core.files import FileStore
from core.states import ENDED
from core.tables import datasets, experiments, operations, runs
from model.data.builtin import BUILTIN, build
from model.data.dataset import Facts, save
from model.spec import DATASET_NAME
from model.statistics import class_order

MAX_PAGE = 100
FILES = ("inputs.npy", "targets.npy", "facts.json")
_NAME = re.compile(DATASET_NAME)


@dataclass(frozen=True)
class NewDataset:
    """A dataset whose files are in the store already."""

    id: str
    name: str
    format: str  # of the upload: csv, parquet, …; built_in otherwise
    facts: Facts
    prefix: str  # folder of its files in the store
    bytes: int  # of all its files
    findings: list[dict[str, Any]] | None = None  # about its rows; None: nobody looked


@dataclass(frozen=True)
class Dataset:
    """A dataset as recorded."""

    id: str
    name: str
    format: str
    facts: Facts
    findings: list[dict[str, Any]] | None  # about its rows; None: nobody looked
    fingerprint: str  # of content and facts
    prefix: str
    bytes: int
    built_in: bool
    created_at: float

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its files."""
        return tuple(f"{self.prefix}/{name}" for name in FILES)


@dataclass(frozen=True)
class Page:
    """Newest first."""

    data: list[Dataset]
    has_more: bool


def findings_of(facts: Facts, targets: np.ndarray) -> list[dict[str, Any]]:
    """What the owner of a dataset should know of its rows, JSON-ready; nothing of a regression.

    Args:
        targets: (rows,) class indices in file order.
    """
    is_classes = facts.task == "classification"
    found = class_order.finding(class_order.class_order(targets)) if is_classes else None
    return [] if found is None else [found.to_json()]


def insert_one(connection: Connection, new: NewDataset) -> Dataset:
    """Record an uploaded dataset.

    Raises:
        DatasetBuiltIn: a built-in dataset has this name, and would hide it.
    """
    if new.name in BUILTIN:
        raise DatasetBuiltIn(f"{new.name} is the name of a built-in dataset.", name=new.name)
    return _insert(connection, new, built_in=False)


def get(connection: Connection, id_or_name: str) -> Dataset:
    """The dataset with this id, else the built-in one of this name, else the newest of it.

    Raises:
        DatasetNotFound: there is none.
    """
    if not _NAME.fullmatch(id_or_name):
        raise DatasetNotFound()
    named = or_(datasets.c.id == id_or_name, datasets.c.name == id_or_name)
    order = ((datasets.c.id == id_or_name).desc(), datasets.c.built_in.desc())
    newest = (datasets.c.created_at.desc(), datasets.c.id.desc())
    query = select(datasets).where(named).order_by(*order, *newest).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise DatasetNotFound()
    return _from_row(row)


def page(connection: Connection, limit: int = 20, after: str | None = None) -> Page:
    """One page of all datasets, newest first.

    Args:
        limit: 1 to 100.
        after: id of the last one of the page before.

    Raises:
        BadCursor: `after` is no dataset's id.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"expected a limit of 1 to {MAX_PAGE}, got {limit}")
    # Not by id alone: the ids of built-in ones are words, not times.
    place = tuple_(datasets.c.created_at, datasets.c.id)
    query = select(datasets).order_by(datasets.c.created_at.desc(), datasets.c.id.desc())
    if after is not None:
        cursor = _by_id(connection, after)
        if cursor is None:
            raise BadCursor()
        query = query.where(place < tuple_(cursor.created_at, cursor.id))
    rows = connection.execute(query.limit(limit + 1)).all()
    return Page([_from_row(row) for row in rows[:limit]], len(rows) > limit)


def delete(connection: Connection, id_or_name: str) -> Dataset:
    """Delete the record of an uploaded dataset; its files are the caller's, after the commit.

    Args:
        id_or_name: names the dataset that `get` gives for it.

    Raises:
        DatasetNotFound: there is none.
        DatasetBuiltIn: it is always there.
        DatasetInUse: a run, an operation or an experiment that has not ended reads it.
    """
    dataset_id = get(connection, id_or_name).id
    row = _by_id(connection, dataset_id, lock=True)  # so that no run is accepted for it meanwhile
    if row is None:
        raise DatasetNotFound()
    if row.built_in:
        raise DatasetBuiltIn(f"{row.name} is built in and stays.", name=row.name)
    _refuse_in_use(connection, dataset_id)
    idempotency.forget(connection, dataset_id)
    connection.execute(sql_delete(datasets).where(datasets.c.id == dataset_id))
    return _from_row(row)


def ensure_builtin(database: Database, files: FileStore) -> None:
    """Record every built-in dataset whose record or files are missing; several may do it at once.

    Raises:
        DatabaseUnavailable, StoreUnavailable: nothing half done stays behind.
    """
    for name in BUILTIN:
        row = database.read(partial(_by_id, dataset_id=f"ds_{name}"))
        if row is None or not _is_stored(files, _from_row(row)):
            _make(database, files, name)


def _make(database: Database, files: FileStore, name: str) -> None:
    dataset = build(name)
    prefix = f"datasets/ds_{name}"
    size = 0
    with TemporaryDirectory(dir=files.scratch()) as scratch:
        folder = Path(scratch)
        save(dataset, folder)
        for file in FILES:
            size += (folder / file).stat().st_size
            files.put(folder / file, f"{prefix}/{file}")
    findings = findings_of(dataset.facts, dataset.targets)
    new = NewDataset(f"ds_{name}", name, "built_in", dataset.facts, prefix, size, findings)
    # Another process may have recorded the same meanwhile, which is as good.
    with suppress(IntegrityError):
        database.write(partial(_insert_missing, new=new))


def _is_stored(files: FileStore, dataset: Dataset) -> bool:
    try:
        return sum(files.size(key) for key in dataset.keys) == dataset.bytes
    except FileMissing:
        return False


def _insert_missing(connection: Connection, new: NewDataset) -> None:
    if _by_id(connection, new.id) is None:
        _insert(connection, new, built_in=True)


def _insert(connection: Connection, new: NewDataset, built_in: bool) -> Dataset:
    row: dict[str, Any] = vars(new) | {"facts": new.facts.to_json(), "built_in": built_in}
    row |= {"fingerprint": new.facts.fingerprint, "created_at": now(connection)}
    connection.execute(insert(datasets), row)
    return Dataset(**row | {"facts": new.facts})


def _by_id(connection: Connection, dataset_id: str, lock: bool = False) -> Row[Any] | None:
    if not _NAME.fullmatch(dataset_id):
        return None
    query = select(datasets).where(datasets.c.id == dataset_id)
    return connection.execute(query.with_for_update() if lock else query).one_or_none()


def _refuse_in_use(connection: Connection, dataset_id: str) -> None:
    for table, kind in ((runs, "run"), (operations, "operation")):
        going_on = table.c.state.not_in([state.value for state in ENDED])
        query = select(table.c.id).where(table.c.dataset_id == dataset_id, going_on).limit(1)
        found = connection.execute(query).scalar()
        if found is not None:
            message = f"{kind.capitalize()} {found}, which has not ended, reads this dataset."
            raise DatasetInUse(message, **{kind: found})
    going_on = experiments.c.state.not_in([state.value for state in ENDED])
    planned = select(experiments.c.id).join(runs, runs.c.experiment_id == experiments.c.id)
    reporting = planned.where(runs.c.dataset_id == dataset_id, going_on).limit(1)
    needed = connection.execute(reporting).scalar()
    if needed is not None:
        message = f"Experiment {needed}, which has no report yet, reads this dataset."
        raise DatasetInUse(message, experiment=needed)


def _from_row(row: Row[Any]) -> Dataset:
    columns = dict(row._mapping)
    return Dataset(**columns | {"facts": Facts.from_json(columns["facts"])})
