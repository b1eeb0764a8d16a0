"""Drift of a model over HTTP: whether inputs differ from those that it was trained on."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection

from api.openapi import refusals
from api.resources import Resource
from api.routes.models import ModelName
from api.services import Given
from api.serving.windows import Window
from core import checkpoints, drift, models
from core.checkpoints import Checkpoint
from core.drift import Said
from core.models import Version

router = APIRouter(prefix="/v1/models", tags=["models"])

State = Literal["uncalibrated", "filling", "quiet", "alarm"]
_ALARM = "Largest score over its threshold, drift above 1; null where nothing is judged."
_WINDOW_ROWS = "Rows that were judged; 0 while the window fills."


class ChannelDrift(Resource):
    """How far one channel of what enters a layer is from the training statistics."""

    channel: int = Field(description="Its index.")
    score: float = Field(description="Symmetric Kullback-Leibler divergence of two normals.")
    z: float | None = Field(description="Offset of the mean in its standard errors.")
    offset: float | None = Field(description="Of the mean, in training deviations.")
    variance_ratio: float | None = Field(description="Of the window over the training.")


class LayerDrift(Resource):
    """How far what enters one layer is from the training statistics."""

    layer: str = Field(description="Its state-dict prefix.")
    score: float = Field(description="Mean over channels.")
    threshold: float | None = Field(description="Null where nothing is calibrated.")
    largest_channel: ChannelDrift = Field(description="The channel that scores most.")
    top_channels: list[ChannelDrift] = Field(description="The highest first, five at most.")


class ClassRows(Resource):
    """How many rows were answered with one class."""

    label: str = Field(description="Name of the class.")
    rows: int = Field(description="Of the window.")


class ProcessDrift(Resource):
    """What one API process sees: it watches only what it answers itself."""

    process: str = Field(description="Its host, its process id, and what tells it from its heirs.")
    state: State = Field(description="Of its window.")
    window_rows: int = Field(description=_WINDOW_ROWS)
    rows: int = Field(description="Rows that its window holds.")
    alarm: float | None = Field(description=_ALARM)


class DriftResource(Resource):
    """Whether the inputs of a version of a model differ from its training statistics."""

    object: Literal["drift"] = "drift"
    model: str = Field(description="Its name.")
    version: int = Field(description="The version that is watched.")
    checkpoint: str = Field(description="Of that version.")
    state: State = Field(
        description="`uncalibrated`: nothing to judge by. `filling`: too few rows yet. `quiet` and "
        "`alarm` are judgements."
    )
    window_rows: int = Field(description=_WINDOW_ROWS)
    rows: int = Field(description="Rows that the window holds.")
    sizes: list[int] = Field(description="Calibrated window sizes, in rows.")
    largest_window: int | None = Field(description="The largest of them.")
    alarm: float | None = Field(description=_ALARM)
    layers: list[LayerDrift] = Field(description="In network order; empty while it fills.")
    predicted_classes: list[ClassRows] | None = Field(
        description="Of the window: another mixture of classes fires the alarm, too. Null for "
        "numbers, and where nothing is watched."
    )
    message: str = Field(description="The state in words.")
    processes: list[ProcessDrift] = Field(
        description="API processes that answered for the version; the rest is told of the one "
        "whose alarm is largest."
    )


@router.get("/{name}/drift", responses=refusals(404, 422))
async def get_drift(
    name: ModelName,
    services: Given,
    version: Annotated[
        str | None, Query(description="Number of a version, or an alias; the newest unless given.")
    ] = None,
) -> DriftResource:
    """Compare the rows that a model was asked for last with its training statistics.

    An alarm says that inputs differ, not that answers are worse, and never blocks a prediction.
    """

    def read(connection: Connection) -> tuple[Version, Checkpoint, list[Said]]:
        found = models.resolve(connection, name, version)
        said = drift.of_version(connection, found.model, found.version)
        return found, checkpoints.get(connection, found.checkpoint_id), said

    found, record, said = await services.database.aread(read)
    states = await services.drift.states((found.model, found.version), said)
    told = max(states.values(), key=_rank, default=None)
    if told is None:  # nobody has asked it lately
        told = await services.predictions.look(record, lambda loaded: Window(loaded).state())
    return DriftResource(
        model=found.model,
        version=found.version,
        checkpoint=record.id,
        processes=[_process(name, state) for name, state in sorted(states.items())],
        **told,
    )


def _rank(state: dict[str, Any]) -> tuple[float, int]:
    return -1.0 if state["alarm"] is None else state["alarm"], state["rows"]


def _process(name: str, state: dict[str, Any]) -> ProcessDrift:
    told = {key: state[key] for key in ("state", "window_rows", "rows", "alarm")}
    return ProcessDrift(process=name, **told)
