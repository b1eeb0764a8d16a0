"""HTTP/1.1 connections with limits on how long a request may take to arrive, and on their number.

uvicorn has neither: a client that sends half a header would be waited for without end. This
reaches into uvicorn's protocol (`cycle.more_body`, `cycle.response_complete`), so uvicorn is
pinned to a minor version and tests hold every case. It knows no route but those named to it.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, ClassVar

import h11
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.problems import MAX_INSTANCE

HEALTH = "/health/"


@dataclass(frozen=True)
class Arrival:
    """How long requests may take to arrive, and how many connections may be open."""

    request_seconds: float  # head and body, from the first byte
    upload_seconds: float  # the same for the paths below
    upload_paths: frozenset[str]
    connections: int  # above it every request but those for health is answered 503


def protocol(arrival: Arrival) -> type["DeadlineProtocol"]:
    """The protocol class to give to uvicorn as `http`."""
    return type("LimitedProtocol", (DeadlineProtocol,), {"arrival": arrival})


class DeadlineProtocol(H11Protocol):
    """Cuts the connection when a request has not arrived whole at its deadline.

    A response may take as long as it likes, and waiting between requests is the keep-alive
    limit's business.
    """

    arrival: ClassVar[Arrival]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_upload = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first request, and turn away what is one too many."""
        super().connection_made(transport)
        if len(self.connections) > self.arrival.connections:
            self.app = Crowded(self.app, self.arrival.connections)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Let uvicorn read, then start, extend or stop the clock by what is still missing."""
        super().data_received(data)
        if not self._is_arriving():
            self._stop_clock()
        elif self._timer is None:
            self._start_clock()
        elif not self._is_upload and self._brings_upload():
            self._extend_clock()

    def _is_arriving(self) -> bool:
        # After a whole answer, bytes that opened no new cycle are a part of the next head.
        return self.cycle is None or self.cycle.more_body or self.cycle.response_complete

    def _brings_upload(self) -> bool:
        if self.cycle is None or not self.cycle.more_body:
            return False
        upload = self.scope["path"] in self.arrival.upload_paths
        return upload and self.scope["method"] == "POST"

    def _start_clock(self) -> None:
        self._since = self.loop.time()
        self._timer = self.loop.call_later(self.arrival.request_seconds, self._cut)
        if self._brings_upload():
            self._extend_clock()

    def _extend_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._is_upload = True
        self._timer = self.loop.call_at(self._since + self.arrival.upload_seconds, self._cut)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_upload = False

    def _cut(self) -> None:
        self.logger.info("A request did not arrive in time; the connection is cut.")
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with a problem, where an answer can still be sent."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = _problem(400, "INVALID_HTTP", msg, self._path())
            headers = [
                ("content-type", "application/problem+json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _path(self) -> str:
        """Of the request whose head has been understood; the root where none has."""
        return _path_in(self.scope) if self.conn.our_state is h11.SEND_RESPONSE else "/"


class Crowded:
    """Stands before the application on connections above the limit; health passes."""

    def __init__(self, app: ASGI3Application, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer 503 and close."""
        if scope["type"] == "http" and scope["path"].startswith(HEALTH):
            await self._app(scope, receive, send)
            return
        detail = f"{self._limit} connections are open, which is the limit."
        path = _path_in(scope) if scope["type"] == "http" else "/"
        body = _problem(503, "TOO_MANY_CONNECTIONS", detail, path, limit=self._limit)
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", b"1"),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def _path_in(scope: HTTPScope) -> str:
    """The path as it was sent, shortened as in every other problem."""
    return scope["raw_path"].decode("ascii", "replace")[:MAX_INSTANCE]


def _problem(status: int, reason: str, detail: str, path: str, **metadata: int) -> bytes:
    """A problem about a connection rather than about what was asked."""
    problem = {
        "type": "urn:evalmode:problem:" + reason.lower().replace("_", "-"),
        "title": reason.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "instance": path,
        "reason": reason,
        "metadata": metadata,
    }
    return json.dumps(problem).encode()
