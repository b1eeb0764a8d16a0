"""The outermost layer: counts every request, and answers what nothing else did."""

import time

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Refusal, answer
from api.telemetry import Telemetry
from core import logs

HEAD_BYTES = 16_384  # uvicorn's own limit counts only heads that come in pieces
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_log = logs.get(__name__)


class Access:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; an error that reaches this place is ours, and logged."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            refusal = _refusal(scope)
            if refusal is None:
                await self._app(scope, receive, noting)
            else:
                await answer(Request(scope), refusal)(scope, receive, noting)
        except ClientDisconnect:
            return
        except Exception:
            _log.exception("a request failed", method=scope["method"], path=scope["path"][:200])
            if status:
                raise  # half an answer is out: only closing the connection tells the client
            await _apologize(scope, receive, noting)
        finally:
            self._count(scope, status, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", "unknown")
        self._telemetry.request(method, route, status, seconds)


def _refusal(scope: Scope) -> Refusal | None:
    """What is wrong with a request's head, whatever it asks for."""
    headers = scope["headers"]
    names = {name for name, _ in headers}
    if b"transfer-encoding" in names and b"content-length" in names:
        # Two ways of saying where the body ends: proxies may disagree on it, so nobody guesses.
        detail = "Content-Length and Transfer-Encoding contradict each other."
        return Refusal(400, "AMBIGUOUS_LENGTH", detail, {"Connection": "close"})
    size = sum(len(name) + len(value) + 4 for name, value in headers)
    size += len(scope.get("raw_path", b"")) + len(scope["query_string"])
    if size > HEAD_BYTES:
        detail = f"Path and headers may have {HEAD_BYTES} bytes together."
        close = {"Connection": "close"}
        return Refusal(431, "HEADERS_TOO_LARGE", detail, close, limit_bytes=HEAD_BYTES)
    return None


async def _apologize(scope: Scope, receive: Receive, send: Send) -> None:
    refusal = Refusal(500, "INTERNAL_ERROR", "The service failed; its log says why.")
    await answer(Request(scope), refusal)(scope, receive, send)
