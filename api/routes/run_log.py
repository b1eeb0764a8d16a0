"""What a run has written while it trained, over HTTP: metrics and events."""

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from pydantic import Field
from sqlalchemy import Connection

from api import resources, streams
from api.bodies import StrictRoute
from api.openapi import refusals
from api.resources import EventResource, Metrics, Resource
from api.routes.runs import RunId
from api.services import Given
from core import events, metrics, runs
from core.events import Event
from core.metrics import MAX_POINTS, Series

router = APIRouter(prefix="/v1/runs", tags=["runs"], route_class=StrictRoute)

MAX_SERIES_POINTS = 10_000
MAX_EVENTS = 1_000
_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")
Seq = Annotated[int, Query(ge=0, le=2**53, description="Only events after this number.")]


class Events(Resource):
    """Lines of a run's log, oldest first."""

    object: Literal["list"] = "list"
    data: list[EventResource] = Field(description="The events of this page.")
    has_more: bool = Field(description="Whether more follow.")
    last_id: int | None = Field(description="`after` of the next page; null for an empty page.")


@router.get("/{run_id}/metrics", responses=refusals(404, 422))
async def read_metrics(
    run_id: RunId,
    services: Given,
    names: Annotated[
        str | None, Query(max_length=2_000, description="Names with commas between; default all.")
    ] = None,
    from_step: Annotated[int, Query(ge=0, le=2**53, description="First step wanted.")] = 0,
    max_points: Annotated[
        int, Query(ge=2, le=MAX_SERIES_POINTS, description="Most points of one series.")
    ] = MAX_POINTS,
) -> Metrics:
    """Metric series; a series with more points than `max_points` is sampled and says so."""
    wanted = [name for name in (names or "").split(",") if _NAME.fullmatch(name)] if names else None

    def read(connection: Connection) -> dict[str, Series]:
        runs.get(connection, run_id)
        return metrics.series(connection, run_id, wanted, from_step, max_points)

    found = await services.database.aread(read)
    return Metrics(series={name: resources.series(one) for name, one in found.items()})


@router.get("/{run_id}/events", responses=refusals(404, 422))
async def list_events(
    run_id: RunId,
    services: Given,
    after: Seq = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_EVENTS, description="Events of one page.")] = 100,
) -> Events:
    """The run's log, oldest first."""

    def read(connection: Connection) -> list[Event]:
        runs.get(connection, run_id)
        return events.after(connection, run_id, after, limit + 1)

    found = await services.database.aread(read)
    data = [resources.event(event) for event in found[:limit]]
    last = data[-1].seq if data else None
    return Events(data=data, has_more=len(found) > limit, last_id=last)


@router.get(
    "/{run_id}/events/stream",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-Sent Events: `id` is seq, `data` an event as JSON.",
            "content": {streams.MEDIA_TYPE: {"schema": streams.SCHEMA}},
        },
        **refusals(404, 422),
    },
)
async def stream_events(
    run_id: RunId,
    services: Given,
    seen: Annotated[
        int,
        Header(
            alias="Last-Event-ID",
            ge=0,
            le=2**53,
            description="Number of the last event that was seen; the stream goes on after it.",
        ),
    ] = 0,
) -> StreamingResponse:
    """The run's log, replayed and then followed until its terminal event."""
    services.streams.require_room()
    await services.database.aread(lambda c: runs.get(c, run_id))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    texts = services.streams.follow(run_id, seen)
    return StreamingResponse(texts, 200, headers, streams.MEDIA_TYPE)
