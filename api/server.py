"""How the application is served: uvicorn with limits on arrival and an orderly end."""

import socket

import uvicorn
from fastapi import FastAPI

from api.access import HEAD_BYTES
from api.deadline import Arrival, protocol
from core.settings import Settings

KEEP_ALIVE_SECONDS = 5
UPLOAD_PATHS = frozenset({"/v1/checkpoints", "/v1/datasets"})


class Server(uvicorn.Server):
    """Tells the application that the end has begun before it waits for open answers."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(_config(app, settings))
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the event streams, then let every other answer finish."""
        self._app.state.stopping.set()
        await super().shutdown(sockets)


def _config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    arrival = Arrival(
        request_seconds=settings.request_seconds,
        upload_seconds=settings.upload_seconds,
        upload_paths=UPLOAD_PATHS,
        connections=settings.connections,
    )
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=protocol(arrival),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(settings.shutdown_seconds) or 1,
        h11_max_incomplete_event_size=HEAD_BYTES,
    )
