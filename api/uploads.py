"""Receiving multipart uploads: each part goes straight to a file of its own in a scratch folder.

The name that a client gives its file is never read. It does not know what the files hold.
"""

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from api import bodies
from api.problems import Invalid, Refusal
from api.validation import FieldError, shorten

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MULTIPART = "multipart/form-data"
MAX_PARTS = 8
PART_HEADER_BYTES = 16_384  # a name that is never read may still be long


@dataclass(frozen=True)
class Received:
    """The parts of an upload, on disk for as long as `receive` is open."""

    paths: dict[str, Path]
    sha256: str  # over names and contents, however the client cut them into a body


@asynccontextmanager
async def receive(
    request: Request, scratch: Path, names: frozenset[str], limit: int
) -> AsyncIterator[Received]:
    """Read a multipart body into a folder below `scratch`, which is gone afterwards.

    Args:
        names: the parts that may be there, each at most once.
        limit: bytes of the whole body, counted while they come.

    Raises:
        Refusal: 415, 413, 400 for what is no multipart body, 422 for other parts.
    """
    bodies.require_type(request, MULTIPART)
    boundary = _boundary(request)
    folder = Path(tempfile.mkdtemp(prefix="upload-", dir=scratch))
    try:
        with _Parts(folder, names) as parts, _as_refusals():
            parser = MultipartParser(boundary, parts.callbacks(), max_header_size=PART_HEADER_BYTES)
            async for piece in bodies.stream(request, limit):
                await asyncio.to_thread(parser.write, piece)
            parser.finalize()
            parts.require_end()
        yield Received(parts.paths, parts.sha256())
    finally:
        shutil.rmtree(folder)


def _boundary(request: Request) -> bytes:
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise _malformed("its Content-Type names no boundary of 1 to 70 characters")
    return boundary


def _malformed(why: str) -> Refusal:
    return Refusal(400, "MALFORMED_MULTIPART", f"The body is not multipart: {why}.", why=why)


@contextmanager
def _as_refusals() -> Iterator[None]:
    try:
        yield
    except FormParserError:
        raise _malformed("its parts cannot be told apart") from None
    except ClientDisconnect:
        raise Refusal(400, "BODY_INCOMPLETE", "The body ended before its length.") from None


class _Parts(ExitStack):
    """Where the parser's findings go: one file per part."""

    def __init__(self, folder: Path, names: frozenset[str]) -> None:
        super().__init__()
        self.paths: dict[str, Path] = {}
        self._folder = folder
        self._names = names
        self._digests: dict[str, str] = {}
        self._count = 0
        self._ended = False
        self._faults: list[FieldError] = []  # told at the end, when the parts are counted
        self._header: list[bytes] = [b"", b""]
        self._name = ""
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._add(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._add(1, data[start:end]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._open,
            "on_part_data": self._write,
            "on_part_end": self._close,
            "on_end": self._end,
        }

    def require_end(self) -> None:
        if not self._ended:
            raise _malformed("its last boundary is missing")
        if self._faults:
            raise Invalid(*self._faults)

    def sha256(self) -> str:
        listing = "".join(f"{name} {self._digests[name]}\n" for name in sorted(self._digests))
        return hashlib.sha256(listing.encode()).hexdigest()

    def _begin(self) -> None:
        self._count += 1
        if self._count > MAX_PARTS:
            detail = f"An upload has at most {MAX_PARTS} parts."
            raise Refusal(413, "TOO_MANY_PARTS", detail, limit=MAX_PARTS)
        self._name = ""

    def _add(self, which: int, data: bytes) -> None:
        self._header[which] += data

    def _header_end(self) -> None:
        field, value = self._header
        self._header = [b"", b""]
        if field.lower() == b"content-disposition":
            name = parse_options_header(value)[1].get(b"name", b"")
            self._name = name.decode("utf-8", "replace")

    def _open(self) -> None:
        name = self._name
        self._file = None
        if name not in self._names:
            wanted = ", ".join(sorted(self._names))
            self._faults.append(FieldError(path=shorten(name), message=f"parts are: {wanted}"))
        elif name in self.paths:
            self._faults.append(FieldError(path=name, message="stands twice"))
        else:
            self.paths[name] = self._folder / name
            self._file = self.enter_context(self.paths[name].open("wb"))
            self._digest = hashlib.sha256()

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            piece = memoryview(data)[start:end]
            self._file.write(piece)
            self._digest.update(piece)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._digests[self._name] = self._digest.hexdigest()

    def _end(self) -> None:
        self._ended = True
