"""Reading request bodies: the right type, within a limit, and JSON that has one meaning."""

import json
import math
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from api.problems import Refusal

JSON = "application/json"
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(body: bytes, *, finite: bool = True) -> Any:
    """The one value that a strict reader sees in a JSON text.

    Args:
        finite: refuse numbers beyond float64 here; False leaves that to the caller, who gets
            them as infinite, because the check costs a call per number.

    Raises:
        Refusal: 400 for what is not JSON, or means different things to different readers:
            NaN, duplicate keys, lone surrogates, other encodings, numbers or nesting beyond
            what can be held.
    """
    try:
        text = body.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite if finite else None,
        )
        if _SURROGATE_ESCAPE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg} at line {error.lineno} column {error.colno}") from None
    except UnicodeError:
        raise _malformed("it is not UTF-8, or a surrogate stands alone") from None
    except RecursionError:
        raise _malformed("it is nested too deep") from None
    except _Ambiguous as error:
        raise _malformed(str(error)) from None
    except ValueError:  # Python's own limit on digits
        raise _malformed("a number has too many digits") from None
    return value


class _Ambiguous(ValueError):
    """Text that some readers accept and others do not."""


def _malformed(why: str) -> Refusal:
    return Refusal(400, "MALFORMED_JSON", f"The body is not JSON: {why}.", why=why)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _Ambiguous("a key stands twice in one object")
    return fields


def _refuse_constant(_: str) -> NoReturn:
    raise _Ambiguous("NaN and Infinity are not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _Ambiguous("a number is beyond the range of float64")
    return number


def media_type(request: Request) -> str:
    """The Content-Type without its parameters, lower case; empty when there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_type(request: Request, *accepted: str) -> str:
    """The request's media type, which must be one of those accepted, sent as it is.

    Raises:
        Refusal: 415 for another type, none at all, or any Content-Encoding.
    """
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        detail = "Compressed bodies are not accepted; send the body without Content-Encoding."
        raise Refusal(415, "CONTENT_ENCODING_UNSUPPORTED", detail, {"Accept-Encoding": "identity"})
    given = media_type(request)
    if given not in accepted or not _is_utf8(request):
        detail = f"The Content-Type must be {' or '.join(accepted)}."
        raise Refusal(415, "UNSUPPORTED_MEDIA_TYPE", detail, accepted=list(accepted))
    return given


def _is_utf8(request: Request) -> bool:
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]*)", request.headers["content-type"], re.I)
    return charset is None or charset[1].lower() in {"utf-8", "utf8"}


def declared(request: Request, limit: int) -> int:
    """Bytes that a body may turn out to have: its declared length, else the limit.

    Raises:
        Refusal: 413, more than the limit is declared.
    """
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        return limit
    if int(length) > limit:
        raise _too_large(limit)
    return int(length)


async def stream(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body piece by piece.

    Raises:
        Refusal: 413 before the first piece when the length is declared, else as soon as more
            than `limit` bytes have come.
        ClientDisconnect: the client has gone.
    """
    declared(request, limit)
    received = 0
    async for piece in request.stream():
        received += len(piece)
        if received > limit:
            raise _too_large(limit)
        yield piece


def _too_large(limit: int) -> Refusal:
    return Refusal(
        413, "BODY_TOO_LARGE", f"The body may have at most {limit} bytes.", limit_bytes=limit
    )


async def read(request: Request, limit: int) -> bytes:
    """The whole body, at most `limit` bytes of it."""
    try:
        return b"".join([piece async for piece in stream(request, limit)])
    except ClientDisconnect:
        raise Refusal(400, "BODY_INCOMPLETE", "The body ended before its length.") from None


class StrictRequest(Request):
    """A request whose JSON is read once, within the control limit, and strictly."""

    async def body(self) -> bytes:
        """The bytes of a JSON body; 415, 413 or 400 for anything else."""
        if not hasattr(self, "_body"):
            require_type(self, JSON)
            self._body = await read(self, self.app.state.services.settings.control_body_bytes)
            self._json = parse_json(self._body)
        return self._body

    async def json(self) -> Any:
        """The parsed body."""
        await self.body()
        return self._json


class StrictRoute(APIRoute):
    """A route whose declared body must be strict JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, given a strict request where it reads a body."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def strictly(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strictly
