"""Running statistics over the steps of a run, over HTTP: as numbers and as a figure."""

import asyncio
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy import Connection

from api import figures
from api.bodies import StrictRoute
from api.openapi import refusals
from api.resources import Resource
from api.routes.checkpoints import CheckpointId
from api.routes.runs import RunId
from api.services import Given, Services
from core import checkpoints, history, runs
from core.history import History, Point

router = APIRouter(prefix="/v1", tags=["statistics"], route_class=StrictRoute)

_FIGURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "An SVG file.",
        "content": {figures.MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    **refusals(404),
}


class Level(Resource):
    """One number of a layer: of its running statistics, of one batch, and of many rows."""

    running: float | None = Field(description="Of the running statistics.")
    batch: float | None = Field(description="Of one training batch; null where it has none.")
    population: float | None = Field(description="Of the training rows; null where unknown.")


class Quartiles(Resource):
    """Over the channels of a layer."""

    p25: float | None = Field(description="25 % quantile.")
    median: float | None = Field(description="50 % quantile.")
    p75: float | None = Field(description="75 % quantile.")


class Distance(Resource):
    """How far statistics are from those of the training rows, channel by channel."""

    mean_sd: Quartiles | None = Field(
        description="Between the means, in deviations of the population; null: no channel varies."
    )
    log_variance: Quartiles | None = Field(
        description="ln(variance / population variance), signed; null: no channel varies."
    )


class LayerPoint(Resource):
    """One norm layer at one step."""

    layer: str = Field(description="Its state-dict prefix.")
    channels: int = Field(description="Channels, C.")
    share_of_initial: float | None = Field(
        description="Share of the initial 0 and 1 still in the running statistics."
    )
    mean: Level = Field(description="Root mean square of the means over the channels.")
    variance: Level = Field(description="Geometric mean over the channels that vary.")
    running_distance: Distance | None = Field(
        description="From the running statistics; null where the population is unknown."
    )
    batch_distance: Distance | None = Field(description="The same from those of one batch.")


class HistoryPoint(Resource):
    """The statistics of one checkpoint."""

    checkpoint: str = Field(description="`ckpt_…`")
    step: int = Field(description="Optimizer steps done.")
    rows: int = Field(description="Training rows that the population is made of.")
    train_eval_gap: float | None = Field(description="In points; null where unknown.")
    layers: list[LayerPoint] = Field(description="Norm layers in network order.")


class StatisticsHistory(Resource):
    """What running statistics, batches and the population were at each checkpoint."""

    object: Literal["statistics_history"] = "statistics_history"
    run: str | None = Field(description="The run; null for what was trained elsewhere.")
    sampled: bool = Field(
        description=f"Whether points were left out: above {history.MAX_POINTS} points, or "
        f"{history.MOST_LAYERS} norm layers in all of them."
    )
    of: int = Field(description="How many points there are.")
    points: list[HistoryPoint] = Field(description="By ascending step.")


@router.get("/runs/{run_id}/statistics/history", responses=refusals(404))
async def get_run_history(run_id: RunId, services: Given) -> StatisticsHistory:
    """Running statistics beside those of a batch and of the training rows, step by step.

    One point per checkpoint that the run has trained; revisions are left out.
    """
    return await _of_run(services, run_id)


@router.get("/checkpoints/{checkpoint_id}/statistics/history", responses=refusals(404))
async def get_checkpoint_history(checkpoint_id: CheckpointId, services: Given) -> StatisticsHistory:
    """The same up to the step of a checkpoint.

    What was trained elsewhere has one point, or none.
    """
    return await _of_checkpoint(services, checkpoint_id)


@router.get("/runs/{run_id}/statistics/history.svg", response_class=Response, responses=_FIGURE)
async def draw_run_history(run_id: RunId, services: Given) -> Response:
    """The history of a run as a figure: how far its statistics are from the training rows'."""
    return await _drawn(services, await _of_run(services, run_id))


@router.get(
    "/checkpoints/{checkpoint_id}/statistics/history.svg",
    response_class=Response,
    responses=_FIGURE,
)
async def draw_checkpoint_history(checkpoint_id: CheckpointId, services: Given) -> Response:
    """The history up to the step of a checkpoint as a figure."""
    return await _drawn(services, await _of_checkpoint(services, checkpoint_id))


async def _drawn(services: Services, told: StatisticsHistory) -> Response:
    svg = await services.figures.history(told.model_dump())
    return Response(svg, media_type=figures.MEDIA_TYPE)


async def _of_run(services: Services, run_id: str) -> StatisticsHistory:
    def read(connection: Connection) -> History:
        runs.get(connection, run_id)
        return history.of_run(connection, run_id)

    found = await services.database.aread(read)
    return await asyncio.to_thread(_resource, run_id, found)


async def _of_checkpoint(services: Services, checkpoint_id: str) -> StatisticsHistory:
    def read(connection: Connection) -> tuple[str | None, History]:
        record = checkpoints.get(connection, checkpoint_id)
        return record.run_id, history.until(connection, record)

    run_id, found = await services.database.aread(read)
    return await asyncio.to_thread(_resource, run_id, found)


def _resource(run_id: str | None, found: History) -> StatisticsHistory:
    points = [HistoryPoint.model_validate(_point(point)) for point in found.points]
    return StatisticsHistory(run=run_id, sampled=found.is_sampled, of=found.of, points=points)


def _point(point: Point) -> dict[str, Any]:
    """A record's own words for it, with the gap in points alone."""
    gap = point.values.get("train_eval_gap") or {}
    of = {
        "checkpoint": point.checkpoint_id,
        "step": point.step,
        "train_eval_gap": gap.get("points"),
    }
    return point.values | of
