"""Sending a stored file: ETag, If-None-Match, HEAD and one byte range, from any file store.

It does not know what the file is.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from api.problems import Refusal
from api.stored import Content

MEDIA_TYPE = "application/octet-stream"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True)
class Span:
    """Consecutive bytes of a file."""

    start: int
    length: int


def byte_range(header: str | None, size: int) -> Span | None:
    """The one range that a Range header asks for; None, the whole file, where it is odd.

    Odd is: another unit, several ranges, an end before the start, no numbers at all.

    Raises:
        Refusal: 416, one well-formed range that lies beyond the file.
    """
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = (int(digits) if digits else None for digits in match.groups())
    if first is None:
        first, last = max(0, size - (last or 0)), size - 1
    elif last is None:
        last = size - 1
    elif last < first:
        return None
    if first >= size:
        detail = f"The file has {size} bytes; the range begins after them."
        raise Refusal(
            416, "RANGE_NOT_SATISFIABLE", detail, {"Content-Range": f"bytes */{size}"}, bytes=size
        )
    return Span(first, min(last, size - 1) - first + 1)


def is_known(header: str | None, etag: str) -> bool:
    """Whether If-None-Match names this file, compared weakly as it must be."""
    if header is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return etag in tags or "*" in tags


async def send(request: Request, sha256: str, find: Callable[[], Content], name: str) -> Response:
    """The response to GET or HEAD of a file.

    Args:
        sha256: of the whole, in hex.
        find: finds its bytes, and blocks meanwhile; what it raises, it raises before any byte
            is sent.
        name: what a browser saves it as; one of our ids with an ending, so it needs no escaping.
    """
    etag = f'"{sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    if is_known(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    content = await asyncio.to_thread(find)
    size = content.size
    span = _span(request, etag, size)
    headers["Content-Disposition"] = f'attachment; filename="{name}"'
    if span is not None:
        headers["Content-Range"] = f"bytes {span.start}-{span.start + span.length - 1}/{size}"
    part = span or Span(0, size)
    headers["Content-Length"] = str(part.length)
    status = 200 if span is None else 206
    if request.method == "HEAD":
        return Response(None, status, headers, MEDIA_TYPE)
    return StreamingResponse(content.read(part.start, part.length), status, headers, MEDIA_TYPE)


def _span(request: Request, etag: str, size: int) -> Span | None:
    condition = request.headers.get("if-range")
    if request.method == "HEAD" or (condition is not None and condition != etag):
        return None
    return byte_range(request.headers.get("range"), size)
