"""Experiments: a request planned, every run of it checked, and all of it queued at once."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from api.admission import Admitted, has_gpu
from api.experiment_request import ExperimentRequest, Wanted, in_params, of_run, wanted
from api.services import Services
from core import experiments, idempotency
from core.errors import DatasetNotFound
from core.experiments import NewExperiment, PlannedRun, Submitted
from core.idempotency import Idempotency
from core.queue import QUEUES
from core.workers import Worker
from model.errors import SpecRefused
from model.lab.cost import run_seconds
from model.spec import RunSpec, plain_text
from model.spec.run import MAX_LABELS

MOST_CPU_SECONDS = 3600.0  # that a published setting may take unless it is forced
MAX_TEXT = 200  # characters of a run's name or label
TOO_LONG = "EXPERIMENT_TOO_LONG"


@dataclass(frozen=True)
class Checked:
    """An experiment that may run."""

    wanted: Wanted
    runs: list[Admitted]  # in the order of the plan
    run_seconds: list[float]  # estimate of each, on one core
    seconds: float  # estimate of all of them, on the cores that are there


async def check(services: Services, request: ExperimentRequest) -> Checked:
    """Plan an experiment and check every run of it, or refuse it.

    Raises:
        Invalid, SpecRefused: it cannot work; the path leads into `params`.
    """
    planned = await asyncio.to_thread(wanted, request)
    try:
        names = dict.fromkeys(run.spec.dataset for run in planned.plan)
        admit = await services.admission.checker(list(names))
    except SpecRefused as error:
        path = in_params(error.path, planned.params)
        raise SpecRefused(path, error.message, error.reason) from None

    def admitted() -> list[Admitted]:
        found = []
        for run in planned.plan:
            try:
                found.append(admit(_named(planned, run.spec, run.arm, run.seed)))
            except SpecRefused as error:
                raise of_run(error, run, planned.params) from None
        return found

    runs = await asyncio.to_thread(admitted)
    seconds = [run_seconds(run.checked) for run in runs]
    alive = await services.admission.alive()
    checked = Checked(planned, runs, seconds, _wall(seconds, alive))
    _refuse_long(checked, alive)
    return checked


async def submit(
    services: Services, request: ExperimentRequest, asked: Idempotency | None
) -> Submitted:
    """Check an experiment and queue it with all of its runs; it is committed when this returns.

    Raises:
        Invalid, SpecRefused: see `check`.
        QueueFull, DiskLow, DatabaseUnavailable: not now.
        IdempotencyMismatch, IdempotencyInFlight: see `core.idempotency`.
    """
    earlier = await _repeated(services, asked)
    if earlier is not None:
        return earlier
    await services.admission.require_disk()
    checked = await check(services, request)
    new, limit = _new(checked), services.settings.queue_limit
    try:
        submitted = await services.database.awrite(
            lambda c: experiments.submit(c, new, limit, asked)
        )
    except DatasetNotFound as error:  # deleted just now
        path = in_params("dataset", checked.wanted.params)
        raise SpecRefused(path, error.message, error.reason) from None
    if not submitted.replayed:
        await _hint(services, new)
    return submitted


async def _repeated(services: Services, asked: Idempotency | None) -> Submitted | None:
    """The experiment that an earlier request with this key made, before anything is checked."""

    def read(connection: Connection) -> Submitted | None:
        earlier = None if asked is None else idempotency.made(connection, asked)
        if earlier is None:
            return None
        return Submitted(experiments.get(connection, earlier), replayed=True)

    return await services.database.aread(read)


async def _hint(services: Services, new: NewExperiment) -> None:
    for planned in new.runs:
        services.telemetry.accepted()
        services.hints.send(await services.admission.queue_of(planned.run.device))
    if not new.runs:
        for queue in QUEUES:  # every worker may make the report
            services.hints.send(queue)


def _new(checked: Checked) -> NewExperiment:
    asked = checked.wanted
    runs = tuple(
        PlannedRun(planned.arm, planned.seed, admitted.new_run())
        for planned, admitted in zip(asked.plan, checked.runs, strict=True)
    )
    params = asked.params.model_dump(mode="json")
    return NewExperiment(asked.experiment.kind, params, list(asked.seeds), runs)


def _named(planned: Wanted, spec: RunSpec, arm: str, seed: int) -> RunSpec:
    """The spec of a run that says what it is a part of.

    Raises:
        SpecRefused: it has as many labels as a run may have, and none of them gives way.
    """
    labels = spec.labels | {"arm": arm[:MAX_TEXT]}
    if len(labels) > MAX_LABELS:
        message = f"the experiment adds the label arm, so that {MAX_LABELS - 1} others are allowed"
        raise SpecRefused("labels", message)
    name = plain_text(f"{planned.experiment.kind}: {arm}, seed {seed}")[:MAX_TEXT]
    return spec.model_copy(update={"name": name, "labels": labels})


def _wall(seconds: list[float], alive: list[Worker]) -> float:
    cores = sum(worker.slots for worker in alive if worker.queue == "cpu")
    return max(max(seconds, default=0.0), sum(seconds) / max(1, cores))


def _refuse_long(checked: Checked, alive: list[Worker]) -> None:
    """Refuse a published setting that would keep the CPUs of this service busy for hours."""
    params = checked.wanted.params
    if params.scale != "paper" or params.force:
        return
    seconds = _wall(list(_on_cpu(checked, alive)), alive)
    if seconds > MOST_CPU_SECONDS:
        message = (
            f"on the CPUs that are there this would take about {seconds / 3600:.1f} hours, and "
            "without force at most 1 is allowed"
        )
        limit = MOST_CPU_SECONDS
        raise SpecRefused("params.force", message, TOO_LONG, seconds=round(seconds), limit=limit)


def _on_cpu(checked: Checked, alive: list[Worker]) -> Iterator[float]:
    """Of the runs that no GPU will take, how long each of them takes."""
    for run, seconds in zip(checked.runs, checked.run_seconds, strict=True):
        device = run.checked.spec.device
        if device == "cpu" or (device == "auto" and not has_gpu(alive)):
            yield seconds
