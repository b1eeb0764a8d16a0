"""The service itself over HTTP: health, metrics for Prometheus, and what it can do."""

import asyncio
from typing import Any, Literal, get_args

from fastapi import APIRouter, Response
from pydantic import Field

from api import telemetry, uploads
from api.openapi import refusals
from api.resources import Resource
from api.routes import measurements, run_log
from api.services import Given, Services
from api.serving import inputs, windows
from core import idempotency, runs
from core.queue import QUEUES
from core.workers import Worker
from model import spec
from model.data import readers
from model.data.builtin import BUILTIN
from model.data.options import Limits
from model.lab.catalogue import EXPERIMENTS
from model.lab.experiment import MOST_RUNS, MOST_SEEDS

router = APIRouter(tags=["service"])

_SETTINGS = (
    "control_body_bytes",
    "prediction_body_bytes",
    "prediction_rows",
    "upload_body_bytes",
    "queue_limit",
    "max_parameters",
    "max_memory_bytes",
    "request_seconds",
    "upload_seconds",
    "connections",
    "streams",
)
_CONSTANTS = {
    "max_steps": spec.MAX_STEPS,
    "max_seed": spec.MAX_SEED,
    "idempotency_seconds": int(idempotency.KEPT_SECONDS),
    "page_items": runs.MAX_PAGE,
    "page_events": run_log.MAX_EVENTS,
    "series_points": run_log.MAX_SERIES_POINTS,
    "measures": spec.MAX_MEASURES,
    "measurement_points": measurements.MAX_PROBES,
    "measurement_bytes": measurements.MAX_BYTES,
    "upload_parts": uploads.MAX_PARTS,
    "drift_windows": windows.MOST_WINDOWS,
    "experiment_runs": MOST_RUNS,
    "experiment_seeds": MOST_SEEDS,
}


class Live(Resource):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(Resource):
    """The service accepts work."""

    status: Literal["ready"] = "ready"
    broker: bool = Field(description="Whether hints reach workers at once; runs wait without it.")
    workers: dict[str, int] = Field(description="Live workers by queue.")


class Device(Resource):
    """What a live worker trains on."""

    kind: Literal["cpu", "cuda"] = Field(description="What a spec's `device` names.")
    worker: str = Field(description="Id of the worker.")
    host: str = Field(description="Its machine.")
    slots: int = Field(description="Cores, or GPUs.")
    names: list[str] = Field(description="Of its GPUs.")


class Capabilities(Resource):
    """What may be asked of this service, and how much."""

    object: Literal["capabilities"] = "capabilities"
    networks: list[str] = Field(description="Values of `network.kind`.")
    norms: list[str] = Field(description="Values of `norm.kind`.")
    measures: list[str] = Field(description="Values of `kind` in `measures`.")
    optimizers: list[str] = Field(description="Values of `optimizer.kind`.")
    schedules: list[str] = Field(description="Values of `schedule.kind`.")
    activations: list[str] = Field(description="Values of `activation`.")
    datasets: list[str] = Field(description="Built-in datasets.")
    experiments: list[str] = Field(description="Kinds of experiments.")
    formats: list[str] = Field(description="Formats of uploads.")
    prediction_media_types: list[str] = Field(description="Content-Types of a prediction.")
    devices: list[Device] = Field(description="Of the live workers.")
    limits: dict[str, int] = Field(description="Every bound, its unit in its name.")


@router.get("/health/live", responses=refusals())
async def live() -> Live:
    """Whether the process lives; asks nothing of anybody."""
    return Live()


@router.get("/health/ready", responses=refusals())
async def ready(services: Given) -> Ready:
    """Whether a run would be accepted: the database is writeable and the disk has room.

    Broker and workers are reported and refuse nothing: an accepted run waits for them.
    """
    await services.readiness.require()
    alive = await services.readiness.alive()
    return Ready(broker=await services.readiness.has_broker(), workers=_by_queue(alive))


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **refusals(),
    },
)
async def metrics(services: Given) -> Response:
    """Counters of this process and states of all runs, in Prometheus' text format."""
    counts = await services.database.aread(runs.counts)
    services.telemetry.records(counts, _by_queue(await services.readiness.alive()))
    text = await asyncio.to_thread(services.telemetry.text)  # states of drift may take a while
    return Response(text, media_type=telemetry.CONTENT_TYPE)


@router.get("/v1/capabilities", responses=refusals())
async def capabilities(services: Given) -> Capabilities:
    """What may be asked, and every limit."""
    return Capabilities(
        networks=_kinds(spec.Network),
        norms=_kinds(spec.NormByKind),
        measures=_kinds(spec.MeasureByKind),
        optimizers=_kinds(spec.Optimizer),
        schedules=_kinds(spec.Schedule),
        activations=list(get_args(spec.Activation)),
        datasets=list(BUILTIN),
        experiments=sorted(EXPERIMENTS),
        formats=list(readers.FORMATS),
        prediction_media_types=list(inputs.MEDIA_TYPES),
        devices=[_device(worker) for worker in await services.readiness.alive()],
        limits=_limits(services),
    )


def _by_queue(alive: list[Worker]) -> dict[str, int]:
    return {queue: sum(worker.queue == queue for worker in alive) for queue in QUEUES}


def _kinds(union: Any) -> list[str]:
    """The values of `kind` over the members of an annotated union."""
    members = get_args(get_args(union)[0])
    return [get_args(member.model_fields["kind"].annotation)[0] for member in members]


def _device(worker: Worker) -> Device:
    return Device(
        kind="cuda" if worker.queue == "gpu" else "cpu",
        worker=worker.id,
        host=worker.host,
        slots=worker.slots,
        names=list(worker.devices),
    )


def _limits(services: Services) -> dict[str, int]:
    named = {name: int(getattr(services.settings, name)) for name in _SETTINGS}
    reading = {f"dataset_{name}": value for name, value in vars(Limits()).items()}
    settings = services.settings
    sent = {"recalibration_rows": settings.prediction_rows}  # the rest lies in datasets
    return named | reading | _CONSTANTS | sent | {"dataset_max_bytes": settings.dataset_bytes}
