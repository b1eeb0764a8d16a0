"""Performs the steps of `evalmode.steps` over HTTP: one class that blocks, one that awaits.

The only file of the client that opens a connection or sleeps. Twins on purpose: each pair of
methods differs in `await` alone.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, BinaryIO, TypedDict
from urllib.parse import urlsplit

import httpx

from core.settings import is_loopback
from evalmode.errors import EvalmodeApiError, NoAnswer
from evalmode.steps import (
    Answer,
    Done,
    Emit,
    Emitting,
    Open,
    Read,
    Request,
    Send,
    Sleep,
    Steps,
    T,
    advance,
)

DEFAULT_URL = "http://127.0.0.1:8000"
# The service closes an idle connection after 5 s; using it at that very moment would break.
LIMITS = httpx.Limits(keepalive_expiry=3)


class Options(TypedDict):
    """What both kinds of httpx client are made with."""

    base_url: str
    headers: Mapping[str, str]
    timeout: float
    trust_env: bool
    limits: httpx.Limits


def options(base_url: str, api_key: str | None, timeout: float) -> Options:
    """How to reach a service. A proxy of the environment is not asked for this machine itself."""
    return Options(
        base_url=base_url,
        headers={"authorization": f"Bearer {api_key}"} if api_key else {},
        timeout=timeout,
        trust_env=not is_loopback(urlsplit(base_url).hostname or ""),
        limits=LIMITS,
    )


class Blocking:
    """Performs steps in the calling thread; may be shared by threads."""

    def __init__(self, options: Options) -> None:
        self._http = httpx.Client(**options)

    def run(self, steps: Steps[T]) -> T:
        """Perform a procedure and return what it returns."""
        with ExitStack() as opened:
            hands = _BlockingHands(self._http, opened)
            step = advance(steps, None)
            while not isinstance(step, Done):
                step = advance(steps, hands.perform(step))
            value: T = step.value
            return value

    def iterate(self, steps: Emitting[T]) -> Iterator[T]:
        """Perform a procedure and yield what it emits."""
        with ExitStack() as opened:
            hands = _BlockingHands(self._http, opened)
            step = advance(steps, None)
            while not isinstance(step, Done):
                if isinstance(step, Emit):
                    yield step.value
                step = advance(steps, hands.perform(step))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class _BlockingHands:
    """Performs single steps; an open body is closed when the next is opened."""

    def __init__(self, http: httpx.Client, opened: ExitStack) -> None:
        self._http = http
        self._opened = opened
        self._chunks: Iterator[bytes] = iter(())

    def perform(self, step: Any) -> Any:
        try:
            match step:
                case Send(request):
                    return self._send(request)
                case Open(request):
                    return self._open(request)
                case Read():
                    return next(self._chunks, b"")
                case Sleep(seconds):
                    time.sleep(seconds)
                    return time.monotonic()
                case Emit():
                    return None
        except httpx.TransportError as error:
            return _no_answer(error)
        raise AssertionError(f"no such step: {step!r}")

    def _send(self, request: Request) -> Answer:
        with ExitStack() as files:
            response = self._http.send(_build(self._http, request, files))
        return _answer(response)

    def _open(self, request: Request) -> Answer:
        self._opened.close()
        response = self._http.send(_build(self._http, request, self._opened), stream=True)
        self._opened.callback(response.close)
        if response.is_error:
            response.read()
            return _answer(response)
        self._chunks = response.iter_raw(None)
        return Answer(response.status_code, response.headers, b"")


class Awaiting:
    """Performs steps in an event loop; belongs to that loop."""

    def __init__(self, options: Options) -> None:
        self._http = httpx.AsyncClient(**options)

    async def run(self, steps: Steps[T]) -> T:
        """Perform a procedure and return what it returns."""
        async with AsyncExitStack() as opened:
            hands = _AwaitingHands(self._http, opened)
            step = advance(steps, None)
            while not isinstance(step, Done):
                step = advance(steps, await hands.perform(step))
            value: T = step.value
            return value

    async def iterate(self, steps: Emitting[T]) -> AsyncIterator[T]:
        """Perform a procedure and yield what it emits."""
        async with AsyncExitStack() as opened:
            hands = _AwaitingHands(self._http, opened)
            step = advance(steps, None)
            while not isinstance(step, Done):
                if isinstance(step, Emit):
                    yield step.value
                step = advance(steps, await hands.perform(step))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


class _AwaitingHands:
    """Performs single steps; an open body is closed when the next is opened."""

    def __init__(self, http: httpx.AsyncClient, opened: AsyncExitStack) -> None:
        self._http = http
        self._opened = opened
        self._chunks: AsyncIterator[bytes] | None = None

    async def perform(self, step: Any) -> Any:
        try:
            match step:
                case Send(request):
                    return await self._send(request)
                case Open(request):
                    return await self._open(request)
                case Read():
                    return await anext(self._chunks, b"") if self._chunks else b""
                case Sleep(seconds):
                    await asyncio.sleep(seconds)
                    return time.monotonic()
                case Emit():
                    return None
        except httpx.TransportError as error:
            return _no_answer(error)
        raise AssertionError(f"no such step: {step!r}")

    async def _send(self, request: Request) -> Answer:
        with ExitStack() as files:
            response = await self._http.send(_build(self._http, request, files))
        return _answer(response)

    async def _open(self, request: Request) -> Answer:
        await self._opened.aclose()
        with ExitStack() as files:
            response = await self._http.send(_build(self._http, request, files), stream=True)
        self._opened.push_async_callback(response.aclose)
        if response.is_error:
            await response.aread()
            return _answer(response)
        self._chunks = response.aiter_raw(None)
        return Answer(response.status_code, response.headers, b"")


def _build(
    http: httpx.Client | httpx.AsyncClient, request: Request, files: ExitStack
) -> httpx.Request:
    parts = {name: _part(content, files) for name, content in request.files.items()}
    return http.build_request(
        request.method,
        request.path,
        params=dict(request.query),
        headers=dict(request.headers),
        content=request.body or None,
        files=parts or None,
    )


def _part(content: Path | bytes, files: ExitStack) -> tuple[str | None, BinaryIO | bytes, str]:
    if isinstance(content, bytes):
        return None, content, "application/json"
    return content.name, files.enter_context(content.open("rb")), "application/octet-stream"


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, response.headers, response.content)


def _no_answer(error: httpx.TransportError) -> EvalmodeApiError:
    return NoAnswer(f"no answer from the service: {error or type(error).__name__}")
