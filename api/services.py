"""What routes are given: everything that lives as long as the process, opened and closed once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import Depends, Request

from api.admission import Admission
from api.calibration_rows import rows_if_there
from api.drift import Drift
from api.exports import Exports
from api.figures import Figures
from api.imports import Imports
from api.intake import Intake
from api.readiness import Readiness
from api.serving.loaded import Networks
from api.serving.predictions import Predictions
from api.serving.window_metrics import WindowMetrics
from api.serving.windows import Windows
from api.streams import Streams
from api.telemetry import Telemetry
from core import datasets, revisions
from core.checkpoints import Checkpoint
from core.database import Database
from core.files import FileStore, open_store
from core.queue import Hints
from core.settings import Settings


@dataclass(frozen=True)
class Services:
    """The outside world, and what this process keeps about it."""

    settings: Settings
    database: Database
    files: FileStore
    hints: Hints
    admission: Admission
    readiness: Readiness
    intake: Intake
    predictions: Predictions
    windows: Windows
    drift: Drift
    exports: Exports
    figures: Figures
    imports: Imports
    streams: Streams
    telemetry: Telemetry


async def of(request: Request) -> Services:
    """The services of the application that a request came to."""
    services: Services = request.app.state.services
    return services


Given = Annotated[Services, Depends(of)]


@asynccontextmanager
async def opened(
    settings: Settings, telemetry: Telemetry, stopping: asyncio.Event
) -> AsyncIterator[Services]:
    """Open everything, bring the records up to date, and close it in reverse.

    Args:
        stopping: set when the server begins to shut down; event streams end then.
    """
    async with AsyncExitStack() as stack:
        database = Database(settings.database_url)
        stack.push_async_callback(asyncio.to_thread, database.close)
        files = await asyncio.to_thread(open_store, settings)
        stack.push_async_callback(asyncio.to_thread, files.close)
        hints = Hints(settings)
        stack.push_async_callback(asyncio.to_thread, hints.close)
        await asyncio.to_thread(_prepare, database, files, hints)
        windows = Windows()
        telemetry.add(WindowMetrics(windows))
        predictions = _predictions(settings, database, files, windows, telemetry)
        stack.push_async_callback(asyncio.to_thread, predictions.close)
        admission = Admission(settings, database, files)
        await admission.rehearse()
        drift = Drift(database, windows)
        drift.start()
        stack.push_async_callback(drift.close)
        yield Services(
            settings=settings,
            database=database,
            files=files,
            hints=hints,
            admission=admission,
            readiness=Readiness(settings, database, hints, admission),
            intake=Intake(settings, database, files),
            predictions=predictions,
            windows=windows,
            drift=drift,
            exports=Exports(database, files),
            figures=Figures(),
            imports=Imports(settings, database, files, predictions),
            streams=Streams(database, settings.streams, stopping),
            telemetry=telemetry,
        )


def _predictions(
    settings: Settings,
    database: Database,
    files: FileStore,
    windows: Windows,
    telemetry: Telemetry,
) -> Predictions:
    rows_of = partial(rows_if_there, database, files)
    limit, limit_bytes = settings.loaded_networks, settings.loaded_bytes
    networks = Networks(files, rows_of, telemetry, limit, limit_bytes)

    def revised(checkpoint_id: str, name: str) -> Checkpoint:
        return database.read(lambda c: revisions.named(c, checkpoint_id, name))

    return Predictions(networks, windows, revised, telemetry, settings.prediction_rows)


def _prepare(database: Database, files: FileStore, hints: Hints) -> None:
    """Make the first request as fast as the others; a broker that is away stops nothing."""
    database.migrate()
    datasets.ensure_builtin(database, files)
    hints.warm()
