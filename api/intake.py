"""From an uploaded file to a dataset: read, stored, and recorded last, or nothing of it stays."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection

from api import repeats
from api.once import once
from api.pickles import is_pickle
from api.problems import Invalid, Refusal
from api.uploads import Received
from api.validation import FieldError
from core import datasets, idempotency
from core.database import Database
from core.datasets import FILES, Dataset, NewDataset
from core.files import FileStore
from core.idempotency import Idempotency
from core.ids import new_id
from core.settings import Settings
from model.data import readers
from model.data.dataset import save
from model.data.options import Limits, ReadOptions

PARTS = frozenset({"file", "targets", "test_file", "test_targets"})
AT_ONCE = 2  # uploads that are read at the same time; each may need memory for a whole dataset


@dataclass(frozen=True)
class Wanted:
    """What the client said of its upload."""

    name: str
    format: str
    target: str | None
    context: int | None = None  # of a text; null: the reader's default

    def hash_with(self, received: Received) -> str:
        """What an idempotency key stands for."""
        told = [self.name, self.format, self.target, received.sha256]
        return repeats.hash_of(told if self.context is None else [*told, self.context])


@dataclass(frozen=True)
class Accepted:
    """A recorded dataset, or the one that an earlier request with the same key made."""

    dataset: Dataset
    replayed: bool


class Intake:
    """Takes uploads in."""

    def __init__(self, settings: Settings, database: Database, files: FileStore) -> None:
        self._database = database
        self._files = files
        self._limits = replace(Limits(), max_bytes=settings.dataset_bytes)
        self._turns = asyncio.Semaphore(AT_ONCE)

    def require_known(self, wanted: Wanted) -> None:
        """Refuse a format that is not read, pickles above all, and what another one would need.

        Raises:
            Refusal: 415; 422 for a context of what is no text.
        """
        if wanted.format not in readers.FORMATS:
            supported = ", ".join(readers.FORMATS)
            raise Refusal(
                415,
                "UNSUPPORTED_FORMAT",
                f"The formats are {supported}.",
                supported=list(readers.FORMATS),
            )
        if wanted.context is not None and wanted.format != "text":
            raise Invalid(FieldError(path="context", message="is for format text alone"))

    async def accept(
        self, wanted: Wanted, received: Received, asked: Idempotency | None
    ) -> Accepted:
        """Read, store and record an upload.

        Raises:
            DatasetInvalid: the file is no dataset.
            Refusal: 415 for a pickle, whatever it is called; 422 for missing parts.
            IdempotencyMismatch, IdempotencyInFlight: see `core.idempotency`.
        """
        _require_parts(wanted.format, received)
        return Accepted(
            *await once(
                self._database, asked, datasets.get, lambda: self._take(wanted, received, asked)
            )
        )

    async def _take(self, wanted: Wanted, received: Received, asked: Idempotency | None) -> Dataset:
        async with self._turns:
            new = await asyncio.to_thread(self._store, wanted, received)

        def work(connection: Connection) -> Dataset:
            recorded = datasets.insert_one(connection, new)
            if asked is not None:
                idempotency.settle(connection, asked, recorded.id)
            return recorded

        try:
            return await self._database.awrite(work)
        except BaseException:
            await asyncio.to_thread(self._files.delete_prefix, new.prefix)
            raise

    def _store(self, wanted: Wanted, received: Received) -> NewDataset:
        """Read the file and put the dataset's three files into the store."""
        _refuse_pickle(received.paths["file"])
        dataset = readers.read(
            wanted.format, received.paths["file"], self._options(wanted, received)
        )
        facts, findings = dataset.facts, datasets.findings_of(dataset.facts, dataset.targets)
        dataset_id = new_id("ds")
        prefix = f"datasets/{dataset_id}"
        folder = Path(tempfile.mkdtemp(prefix="dataset-", dir=self._files.scratch()))
        try:
            save(dataset, folder)
            size = sum((folder / file).stat().st_size for file in FILES)
            for file in FILES:
                self._files.put(folder / file, f"{prefix}/{file}")
        except BaseException:
            self._files.delete_prefix(prefix)
            raise
        finally:
            shutil.rmtree(folder)
        return NewDataset(dataset_id, wanted.name, wanted.format, facts, prefix, size, findings)

    def _options(self, wanted: Wanted, received: Received) -> ReadOptions:
        paths = received.paths
        options = ReadOptions(
            target=wanted.target,
            targets_path=paths.get("targets"),
            test_path=paths.get("test_file"),
            test_targets_path=paths.get("test_targets"),
            limits=self._limits,
        )
        return options if wanted.context is None else replace(options, context=wanted.context)


def _require_parts(format: str, received: Received) -> None:
    needed = ["file", "targets"] if format == "idx" else ["file"]
    missing = [name for name in needed if name not in received.paths]
    if missing:
        raise Invalid(*(FieldError(path=name, message="is required") for name in missing))


def _refuse_pickle(path: Path) -> None:
    if is_pickle(path):
        detail = "Pickled files are never read; export the arrays as npz, csv or parquet."
        raise Refusal(415, "UNSUPPORTED_FORMAT", detail, supported=list(readers.FORMATS))
