"""From an uploaded state dict to a checkpoint: fitted, stored, recorded last, or nothing stays."""

import asyncio
import uuid
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection

from api.dataset_arrays import ARRAYS, mapped
from api.import_request import Wanted
from api.once import once
from api.pickles import is_pickle
from api.problems import Invalid, Refusal
from api.serving.predictions import Predictions
from api.uploads import Received
from api.validation import FieldError
from core import checkpoints, datasets, idempotency
from core.checkpoints import IMPORTS, Checkpoint, NewCheckpoint, Origin
from core.database import Database
from core.datasets import Dataset
from core.errors import CheckpointNotFound, DatasetNotFound
from core.files import FileStore
from core.idempotency import Idempotency
from core.settings import Settings
from model.checkpoint import Loaded, write
from model.data.dataset import Facts
from model.data.scaling import Scaling
from model.data.split import rows as split_rows
from model.data.split import split_sizes
from model.errors import CheckpointRefused, SpecRefused
from model.foreign_file import ForeignFile, OwnWords, open_foreign
from model.importing import History, Imported, imported
from model.memory import answering_bytes
from model.plan import plan, refuse_size
from model.spec import RunSpec
from model.statistics.layers import layer_fingerprint
from model.statistics.modes import running_norms

FORMATS = ("safetensors",)


@dataclass(frozen=True)
class Accepted:
    """A recorded import, or the one that an earlier request with the same key made."""

    checkpoint: Checkpoint
    replayed: bool


@dataclass(frozen=True)
class Known:
    """What records say about an import."""

    spec: RunSpec
    facts: Facts
    dataset: Dataset | None  # None: the request says what the network takes
    frozen: dict[str, str]  # fingerprints by layer


class Imports:
    """Takes checkpoints in, one at a time: each may need memory for a whole network, twice."""

    def __init__(
        self, settings: Settings, database: Database, files: FileStore, predictions: Predictions
    ) -> None:
        self._database = database
        self._files = files
        self._predictions = predictions
        self._max_parameters = settings.max_parameters
        self._max_memory_bytes = settings.max_memory_bytes
        self._turn = asyncio.Semaphore(1)

    async def accept(
        self, wanted: Wanted, received: Received, asked: Idempotency | None
    ) -> Accepted:
        """Fit, store and record an import. Nothing of a refused one stays.

        Raises:
            CheckpointRefused: the file is not that of the spec's network; tensors are named.
            SpecRefused: the spec cannot work, or names no dataset.
            Refusal: 415 for a pickle, whatever it is called.
            IdempotencyMismatch, IdempotencyInFlight: see `core.idempotency`.
        """
        return Accepted(
            *await once(
                self._database, asked, checkpoints.get, lambda: self._take(wanted, received, asked)
            )
        )

    async def _take(
        self, wanted: Wanted, received: Received, asked: Idempotency | None
    ) -> Checkpoint:
        known = await self._known(wanted)
        async with self._turn:
            path = received.paths["file"]
            new, origin = await asyncio.to_thread(self._store, path, wanted, known)

        def work(connection: Connection) -> Checkpoint:
            made = checkpoints.insert_one(connection, new, origin)
            if asked is not None:
                idempotency.settle(connection, asked, made)
            return checkpoints.get(connection, made)

        # An error here leaves open whether that is recorded: the sweep takes what is not.
        return await self._database.awrite(work)

    async def _known(self, wanted: Wanted) -> Known:
        frozen = await self._frozen(wanted)
        if wanted.signature is not None:
            return Known(wanted.spec, wanted.signature.facts(), None, frozen)
        try:
            dataset = await self._database.aread(lambda c: datasets.get(c, wanted.spec.dataset))
        except DatasetNotFound as error:
            raise SpecRefused("spec.dataset", error.message, error.reason) from None
        # As for a run: the name of an upload may mean another one tomorrow.
        named = {"dataset": dataset.name if dataset.built_in else dataset.id}
        return Known(wanted.spec.model_copy(update=named), dataset.facts, dataset, frozen)

    async def _frozen(self, wanted: Wanted) -> dict[str, str]:
        """Fingerprints of the layers that were to stay, in the checkpoint that they are from."""
        asked = wanted.about.frozen
        if asked is None:
            return {}
        try:
            record = await self._database.aread(lambda c: checkpoints.get(c, asked.origin))
        except CheckpointNotFound as error:
            raise SpecRefused("about.frozen.from", error.message, error.reason) from None
        known = await self._predictions.look(record, _fingerprints)
        _refuse_unknown(asked.layers, known, "the checkpoint that they are from")
        return {layer: known[layer] for layer in asked.layers}

    def _store(self, path: Path, wanted: Wanted, known: Known) -> tuple[NewCheckpoint, Origin]:
        """Fit the file to the network, and put what comes out into the store."""
        with _paths_below_spec(wanted):
            self._refuse_large(known)
            file = _opened(path)
            scaling, source = self._scaling(wanted, known, file.own)
            history = _history(wanted, known, file.own)
            one = imported(file.tensors, known.spec, known.facts, scaling=scaling, history=history)
        layers = {name.rpartition(".")[0] for name in one.tensors}
        _refuse_unknown(known.frozen, layers, "the network")
        report = one.report.to_json()
        findings = report.pop("findings")
        told = {"kind": one.about.scaling.kind, "from": source}
        origin = Origin(one.about.spec.model_dump(mode="json"), made_by=report | {"scaling": told})
        return replace(self._written(one), findings=findings), origin

    def _refuse_large(self, known: Known) -> None:
        """Refuse what a run could not train either: it must be answered and scored."""
        planned = plan(known.spec, known.facts)
        rows = None if known.dataset is None else split_sizes(known.facts, known.spec.split)
        refuse_size("parameters", planned.parameters, self._max_parameters)
        num_bytes = answering_bytes(known.spec, planned, rows)
        refuse_size("bytes of memory", num_bytes, self._max_memory_bytes)

    def _scaling(
        self, wanted: Wanted, known: Known, own: OwnWords | None
    ) -> tuple[Scaling | None, str | None]:
        """The scaling, and whence it comes."""
        if wanted.scaling is not None:
            return wanted.scaling, "about"
        if own is not None:
            return own.scaling, "file"
        if known.dataset is None:
            return None, None
        return self._fitted(known.spec, known.dataset), "rows"

    def _fitted(self, spec: RunSpec, dataset: Dataset) -> Scaling:
        """The spec's scaling, on the rows that would train."""
        if split_sizes(dataset.facts, spec.split).train == 0:
            raise SpecRefused("split", "the split leaves no training rows to fit the scaling on")
        inputs, targets = (mapped(self._files, dataset, name) for name in ARRAYS)
        train = split_rows(dataset.facts, targets, spec.split).train
        return Scaling.fit(spec.scaling, inputs[train], dataset.facts.images)

    def _written(self, one: Imported) -> NewCheckpoint:
        name = f"{uuid.uuid4().hex}.safetensors"
        path = self._files.scratch() / f"import-{name}"
        try:
            written = write(path, one.tensors, one.about)
            self._files.put(path, f"{IMPORTS}/{name}")
        finally:
            path.unlink(missing_ok=True)
        return NewCheckpoint(
            step=one.about.step,
            key=f"{IMPORTS}/{name}",
            sha256=written.sha256,
            bytes=written.num_bytes,
            fingerprint=written.statistics,
            norm_layers=written.norm_layers,
            weights_hash=written.weights,
            metrics={},  # nobody has scored it
        )


def _opened(path: Path) -> ForeignFile:
    try:
        return open_foreign(path)
    except CheckpointRefused:
        if is_pickle(path):
            detail = "Pickled files are never read; save the state dict as safetensors."
            raise Refusal(415, "UNSUPPORTED_FORMAT", detail, supported=list(FORMATS)) from None
        raise


def _history(wanted: Wanted, known: Known, own: OwnWords | None) -> History:
    """What a file of ours says of its training, unless the request says otherwise."""
    about, said = wanted.about, History() if own is None else own.history
    return replace(
        said,
        step=said.step if about.step is None else about.step,
        batches=said.batches if about.batches is None else about.batches,
        is_averaged=said.is_averaged if about.averaged is None else about.averaged,
        frozen={**said.frozen, **known.frozen},
    )


def _fingerprints(loaded: Loaded) -> dict[str, str]:
    layers = running_norms(loaded.network).items()
    return {name: layer_fingerprint(name, layer) for name, layer in layers}


def _refuse_unknown(layers: Iterable[str], known: Container[str], where: str) -> None:
    if any(layer not in known for layer in layers):
        message = f"must be norm layers of {where} with running statistics"
        raise Invalid(FieldError(path="about.frozen.layers", message=message))


@contextmanager
def _paths_below_spec(wanted: Wanted) -> Iterator[None]:
    """Name the field at fault by its part of the form."""
    try:
        yield
    except SpecRefused as error:
        is_given = error.path == "scaling" and wanted.scaling is not None
        path = f"{'about' if is_given else 'spec'}.{error.path}"
        raise SpecRefused(path, error.message, error.reason, **error.metadata) from None
