"""Admitting runs: what must be known of a spec before it is queued, and the one transaction.

Facts of datasets, the presence of a GPU and the free disk are remembered, so that accepting a
run costs this process one transaction and nothing else.
"""

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from api.recent import Recent
from core import datasets, runs, workers
from core.database import Database
from core.datasets import Dataset
from core.errors import DatasetNotFound, DiskLow
from core.files import FileStore
from core.idempotency import Idempotency
from core.queue import QueueName
from core.runs import NewRun, Submitted
from core.settings import Settings
from core.workers import Worker
from model.errors import SpecRefused
from model.findings import Finding
from model.measures.periods import with_periods
from model.plan import Checked, Limits, check
from model.spec import RunSpec

REMEMBER_DATASETS = 1024


@dataclass(frozen=True)
class Admitted:
    """A spec that may run, with the dataset that its name means now."""

    checked: Checked
    dataset: Dataset

    def new_run(self) -> NewRun:
        """The row that it becomes."""
        spec = self.checked.spec
        return NewRun(
            spec=spec.model_dump(mode="json"),
            spec_hash=spec.hash,
            dataset_id=self.dataset.id,
            device=spec.device,
            threads=spec.threads,
            steps=self.checked.steps,
            name=spec.name,
            labels=spec.labels,
            findings=[dict(vars(finding)) for finding in self.checked.findings],
        )


class Admission:
    """Decides on specs and queues them."""

    def __init__(self, settings: Settings, database: Database, files: FileStore) -> None:
        self._settings = settings
        self._database = database
        self._limits = Limits(settings.max_parameters, settings.max_memory_bytes)
        self._known: OrderedDict[str, Dataset] = OrderedDict()
        self._alive = Recent(
            lambda: database.aread(lambda c: workers.alive(c, settings.alive_seconds))
        )
        self._free = Recent(lambda: asyncio.to_thread(files.free_bytes))

    async def rehearse(self) -> None:
        """Submit a run and take it back in one transaction: the next is as fast as a later one."""
        spec = RunSpec.model_validate({"dataset": "digits", "network": {"kind": "mlp"}})
        new = (await self.check(spec)).new_run()

        def submit_and_take_back(connection: Connection) -> None:
            with connection.begin_nested() as savepoint:
                runs.submit(connection, new, sys.maxsize, None)
                savepoint.rollback()

        await self._database.awrite(submit_and_take_back, durable=False)

    async def check(self, spec: RunSpec) -> Admitted:
        """Compute everything about a spec, or refuse it.

        Raises:
            SpecRefused: it cannot work, or names no dataset.
        """
        dataset = await self._dataset(spec.dataset)
        return self._checked(spec, dataset, await self._alive.get())

    async def checker(self, names: Collection[str]) -> Callable[[RunSpec], Admitted]:
        """A check of any specs that read one of these datasets; it asks nobody, in any thread.

        Args:
            names: ids or names of datasets.

        Raises:
            SpecRefused: one of them names no dataset.
        """
        found = {name: await self._dataset(name) for name in names}
        alive = await self._alive.get()
        return lambda spec: self._checked(spec, found[spec.dataset], alive)

    async def submit(self, spec: RunSpec, asked: Idempotency | None) -> Submitted:
        """Check and queue a run; it is committed when this returns.

        Raises:
            SpecRefused: see `check`.
            QueueFull, DiskLow, DatabaseUnavailable: not now.
            IdempotencyMismatch, IdempotencyInFlight: see `core.idempotency`.
        """
        await self.require_disk()
        known = self._known.get(spec.dataset)
        if known is not None:
            try:
                admitted = self._checked(spec, known, await self._alive.get())
                return await self._queue(admitted, asked)
            except DatasetNotFound:  # deleted since it was remembered
                self._known.pop(spec.dataset, None)
        try:
            return await self._queue(await self.check(spec), asked)
        except DatasetNotFound as error:
            raise _no_dataset(error) from None

    async def require_disk(self) -> None:
        """Refuse what will write files while the disk is nearly full.

        Raises:
            DiskLow: less is free than the settings leave.
        """
        free, least = await self._free.get(), self._settings.min_free_bytes
        if free < least:
            raise DiskLow(
                f"{free} bytes of disk are free, {least} must stay so.",
                free_bytes=free,
                min_free_bytes=least,
            )

    async def alive(self) -> list[Worker]:
        """The workers that are alive now."""
        return await self._alive.get()

    async def queue_of(self, device: str) -> QueueName:
        """The queue whose workers take runs for this device now."""
        if device == "auto":
            return "gpu" if has_gpu(await self._alive.get()) else "cpu"
        return "gpu" if device == "cuda" else "cpu"

    def _checked(self, spec: RunSpec, dataset: Dataset, alive: list[Worker]) -> Admitted:
        # The name of an upload may mean another one tomorrow, and a spec must mean one thing for
        # ever; one dataset must have one hash, too.
        dataset_is = dataset.name if dataset.built_in else dataset.id
        spec = spec.model_copy(update={"dataset": dataset_is})
        checked = with_periods(check(spec, dataset.facts, self._limits))
        of_rows = (Finding(**finding) for finding in dataset.findings or ())
        findings = (*checked.findings, *of_rows, *waits(checked.spec, alive))
        return Admitted(replace(checked, findings=findings), dataset)

    async def _queue(self, admitted: Admitted, asked: Idempotency | None) -> Submitted:
        new, limit = admitted.new_run(), self._settings.queue_limit
        return await self._database.awrite(lambda c: runs.submit(c, new, limit, asked))

    async def _dataset(self, id_or_name: str) -> Dataset:
        try:
            dataset = await self._database.aread(lambda c: datasets.get(c, id_or_name))
        except DatasetNotFound as error:
            raise _no_dataset(error) from None
        if dataset.built_in or id_or_name == dataset.id:
            # Any other name may mean a newer dataset tomorrow; these never change.
            self._known[id_or_name] = dataset
            if len(self._known) > REMEMBER_DATASETS:
                self._known.popitem(last=False)
        return dataset


def waits(spec: RunSpec, alive: list[Worker]) -> Iterator[Finding]:
    """What a run would wait for, because no worker that lives now can take it."""
    if spec.device == "cuda" and not has_gpu(alive):
        remedy = "The run waits until a GPU worker is there; start one, or set device to cpu."
        yield Finding("NO_GPU_WORKER", "note", None, {"gpu_workers": 0}, remedy)
    slots = [worker.slots for worker in alive if worker.queue == "cpu"]
    on_cpu = spec.device == "cpu" or (spec.device == "auto" and not has_gpu(alive))
    if on_cpu and slots and spec.threads > max(slots):
        evidence = {"threads": spec.threads, "most_slots": max(slots)}
        remedy = "The run waits until a worker with as many slots is there; ask for fewer threads."
        yield Finding("THREADS_EXCEED_SLOTS", "note", None, evidence, remedy)


def has_gpu(alive: list[Worker]) -> bool:
    """Whether one of these workers trains on a GPU."""
    return any(worker.queue == "gpu" for worker in alive)


def _no_dataset(error: DatasetNotFound) -> SpecRefused:
    """The same as a fault of the request: its path was found, its field means nothing."""
    return SpecRefused("dataset", error.message, error.reason)
