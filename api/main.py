"""create_app(): settings in, an application out; it wires and decides nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from api import openapi, problems, queries
from api.access import Access
from api.heads import Heads
from api.import_request import ImportAbout
from api.recalibration_request import RecalibrateRequest
from api.routes import (
    checkpoints,
    datasets,
    diagnosis,
    drift,
    experiments,
    history,
    imports,
    measurements,
    models,
    operations,
    predictions,
    run_log,
    runs,
    service,
    statistics,
)
from api.services import opened
from api.serving.inputs import PredictRequest
from api.telemetry import Telemetry
from core.errors import (
    CheckpointNotFound,
    DatasetNotFound,
    ExperimentNotFound,
    ModelNotFound,
    NotFound,
    OperationNotFound,
    RunNotFound,
)
from core.settings import Settings

VERSION = "0.1.0"
_ROUTERS = (
    runs,
    run_log,
    measurements,
    predictions,
    models,
    drift,
    checkpoints,
    imports,
    statistics,
    diagnosis,
    history,
    operations,
    experiments,
    datasets,
    service,
)
_IDS: dict[str, type[NotFound]] = {
    "/v1/runs/": RunNotFound,
    "/v1/checkpoints/": CheckpointNotFound,
    "/v1/models/": ModelNotFound,
    "/v1/operations/": OperationNotFound,
    "/v1/experiments/": ExperimentNotFound,
    "/v1/datasets/": DatasetNotFound,
}


def create_app(settings: Settings) -> FastAPI:
    """The application. Nothing is opened before its lifespan begins.

    `app.state.stopping` is an event for the server to set when it begins to shut down.
    """
    telemetry = Telemetry()
    stopping = asyncio.Event()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened(settings, telemetry, stopping) as services:
            app.state.services = services
            yield

    app = FastAPI(
        title="Evalmode",
        version=VERSION,
        summary="Networks with and without batch normalization, served in eval mode.",
        lifespan=lifespan,
        dependencies=[Depends(queries.require_known)],
        redirect_slashes=False,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.stopping = stopping
    app.add_middleware(Heads)
    app.add_middleware(Access, telemetry=telemetry)  # the last one added is the outermost
    problems.install(app, _IDS)
    for routes in _ROUTERS:
        app.include_router(routes.router)
    openapi.install(app, PredictRequest, RecalibrateRequest, ImportAbout)
    return app
