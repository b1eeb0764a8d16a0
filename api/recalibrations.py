"""Recalibrations: a request checked against what is here, its rows stored, and queued."""

import asyncio
import contextlib
import uuid
from functools import partial

import numpy as np

from api import operations
from api.problems import Invalid
from api.recalibration_request import Wanted, decode
from api.services import Services
from api.serving.inputs import Rows
from api.validation import FieldError
from core import datasets, revisions
from core.checkpoints import Checkpoint
from core.datasets import Dataset
from core.errors import DatabaseUnavailable, DatasetNotFound, StoreUnavailable
from core.files import FileStore
from core.idempotency import Idempotency
from core.operations import Submitted
from model.blocks import scored_bytes
from model.data.dataset import Facts
from model.data.split import split_sizes
from model.errors import SpecRefused
from model.memory import item_bytes
from model.plan import plan


async def decoded(services: Services, record: Checkpoint, body: bytes) -> Wanted:
    """Read a body, and check it against the network that it is about.

    Raises:
        Refusal, SpecRefused: see `api.recalibration_request.decode`.
        CheckpointRefused, FileMissing, StoreUnavailable: the network cannot be loaded.
    """
    read = partial(decode, body, max_rows=services.settings.prediction_rows)
    return await services.predictions.look(record, read)


async def submit(
    services: Services, record: Checkpoint, wanted: Wanted, asked: Idempotency | None
) -> Submitted:
    """Check a recalibration against what is here, and queue it.

    Raises:
        RevisionNameTaken, DiskLow, SpecRefused, Invalid: it cannot be done.
        others: see `api.operations.submit`.
    """
    earlier = await operations.repeated(services, asked)
    if earlier is not None:
        return earlier
    await services.admission.require_disk()
    await operations.refuse_taken(services, record, wanted.request.name)
    if wanted.rows is not None:
        _refuse_hungry(services, wanted, len(wanted.rows))
        return await _submit_with(services, record, wanted, wanted.rows, asked)
    dataset = await _dataset(services, wanted)
    _refuse_hungry(services, wanted, wanted.request.rows or dataset.facts.rows)
    new = wanted.operation(record, dataset_id=dataset.id)
    try:
        return await operations.submit(services, new, asked)
    except DatasetNotFound as error:  # deleted just now
        raise SpecRefused("dataset", error.message, error.reason) from None


async def _submit_with(
    services: Services,
    record: Checkpoint,
    wanted: Wanted,
    rows: Rows,
    asked: Idempotency | None,
) -> Submitted:
    """Store the rows first: once the operation is committed, they must be there."""
    key = revisions.rows_key()
    try:
        await asyncio.to_thread(_put, services.files, rows, key)
        new = wanted.operation(record, rows_key=key)
        submitted = await operations.submit(services, new, asked)
    except (DatabaseUnavailable, asyncio.CancelledError):
        raise  # it may have been accepted: the sweep takes what nothing names
    except BaseException:
        await asyncio.to_thread(_delete, services.files, key)
        raise
    if submitted.replayed:  # a request with the same key was faster
        await asyncio.to_thread(_delete, services.files, key)
    return submitted


def _put(files: FileStore, rows: Rows, key: str) -> None:
    path = files.scratch() / f"rows-{uuid.uuid4().hex}.npy"
    try:
        np.save(path, rows, allow_pickle=False)
        files.put(path, key)
    finally:
        path.unlink(missing_ok=True)


def _delete(files: FileStore, key: str) -> None:
    """No record names it; what cannot be deleted now is left for the sweep."""
    with contextlib.suppress(StoreUnavailable):
        files.delete(key)


async def _dataset(services: Services, wanted: Wanted) -> Dataset:
    """The dataset whose rows are used, if it has enough of the right shape."""
    name = wanted.request.dataset
    try:
        dataset = await services.database.aread(
            lambda c: datasets.get(c, wanted.spec.dataset if name is None else name)
        )
    except DatasetNotFound as error:
        raise (_no_own() if name is None else _unknown(error)) from None
    is_own = dataset.facts.fingerprint == wanted.facts.fingerprint
    if name is None and not is_own:
        raise _no_own()
    _refuse_unfit(dataset.facts, wanted, is_own)
    return dataset


def _no_own() -> SpecRefused:
    message = "the dataset that it was trained on is not here: name another one, or send rows"
    return SpecRefused("dataset", message, DatasetNotFound.reason)


def _unknown(error: DatasetNotFound) -> SpecRefused:
    return SpecRefused("dataset", error.message, error.reason)


def _refuse_unfit(facts: Facts, wanted: Wanted, is_own: bool) -> None:
    shape, expected = list(facts.input_shape), list(wanted.facts.input_shape)
    if shape != expected:
        message = f"its rows have shape {shape}, the network takes {expected}"
        raise Invalid(FieldError(path="dataset", message=message))
    there = split_sizes(facts, wanted.spec.split).train if is_own else facts.rows
    least, count = wanted.request.least_rows, wanted.request.rows
    if count is not None and not least <= count <= there:
        message = f"must be {least} to {there}, the rows that there are"
        raise Invalid(FieldError(path="rows", message=message))
    if there < least:
        message = f"it has {there} rows to use; {wanted.request.method} needs {least}"
        raise Invalid(FieldError(path="dataset", message=message))


def _refuse_hungry(services: Services, wanted: Wanted, rows: int) -> None:
    """Refuse batches that would take more memory than a run may.

    Args:
        rows: all that are used, which no batch exceeds.
    """
    largest = min(wanted.batch_rows, rows)
    planned = plan(wanted.spec, wanted.facts)
    num_bytes = scored_bytes(planned, item_bytes(wanted.spec), largest)
    limit = services.settings.max_memory_bytes
    if num_bytes > limit:
        message = f"a batch of {largest} rows takes {num_bytes} bytes; at most {limit} are allowed"
        raise Invalid(FieldError(path="batch_rows", message=message))
