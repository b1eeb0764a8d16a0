"""Multipart bodies become files in a scratch folder, which is empty again afterwards."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import Request

from api import uploads
from api.problems import Invalid, Refusal

NAMES = frozenset({"file", "targets"})
HEADER = "multipart/form-data; boundary=B"


def part(name: str, content: bytes, extra: str = "") -> bytes:
    head = f'--B\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--B--\r\n"


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def receive(
    scratch: Path,
    content: bytes,
    header: str = HEADER,
    limit: int = 30_000,
    declared: int | None = None,
    size: int = 7,
) -> tuple[dict[str, bytes], str]:
    """What is in the files while they are there, and the hash over all."""
    headers = [(b"content-type", header.encode())]
    if declared is not None:
        headers.append((b"content-length", str(declared).encode()))
    messages = [
        {"type": "http.request", "body": piece, "more_body": True}
        for piece in pieces(content, size)
    ]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def next_message() -> dict[str, object]:
        return messages.pop(0)

    async def run() -> tuple[dict[str, bytes], str]:
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        request = Request(scope, next_message)
        async with uploads.receive(request, scratch, NAMES, limit) as received:
            found = {name: path.read_bytes() for name, path in received.paths.items()}
            return found, received.sha256

    return asyncio.run(run())


def refusal(scratch: Path, content: bytes, **more: object) -> Refusal:
    with pytest.raises(Refusal) as refused:
        receive(scratch, content, **more)  # type: ignore[arg-type]
    assert list(scratch.iterdir()) == []
    return refused.value


def test_parts_become_files_for_as_long_as_they_are_needed(tmp_path: Path) -> None:
    content = body(part("file", b"a,b\r\n1,2"), part("targets", b"\x00" * 100))
    files, _ = receive(tmp_path, content)
    assert files == {"file": b"a,b\r\n1,2", "targets": b"\x00" * 100}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["../../etc/x", "", "x" * 3_000, "a\\x00b", "CON", "/etc/passwd", 'q"; name="targets'],
)
def test_the_name_of_a_file_is_never_used(name: str, tmp_path: Path) -> None:
    files, _ = receive(tmp_path, body(part("file", b"x", f"; filename*=utf-8''{name.encode()!r}")))
    assert files == {"file": b"x"}


def test_the_hash_does_not_depend_on_the_boundary_or_on_the_pieces(tmp_path: Path) -> None:
    content = body(part("file", b"one"), part("targets", b"two"))
    other = content.replace(b"--B", b"--OTHER")
    _, first = receive(tmp_path, content, size=1)
    _, second = receive(tmp_path, other, "multipart/form-data; boundary=OTHER", size=1_000)
    _, changed = receive(tmp_path, content.replace(b"two", b"too"))
    assert first == second != changed


def test_a_body_over_the_limit_is_refused_while_it_comes(tmp_path: Path) -> None:
    assert refusal(tmp_path, body(part("file", b"x" * 40_000))).status_code == 413


def test_a_declared_length_over_the_limit_is_refused_before_anything_is_read(
    tmp_path: Path,
) -> None:
    assert refusal(tmp_path, b"", declared=30_001).status_code == 413


def test_very_many_parts_are_too_many(tmp_path: Path) -> None:
    content = body(*(part("file", b"x") for _ in range(1_000)))
    assert refusal(tmp_path, content, limit=10**6).reason == "TOO_MANY_PARTS"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nothing of the kind",
        b"--B\r\n",
        part("file", b"x"),
        b"--B\r\nno header here\r\n\r\nx\r\n--B--\r\n",
        b"--B\r\n" + b"x: y\r\n" * 1_000 + b"\r\nx\r\n--B--\r\n",
        b"--B\r\nContent-Disposition: " + b"x" * 20_000 + b"\r\n\r\nx\r\n--B--\r\n",
    ],
)
def test_what_is_not_multipart_is_malformed(content: bytes, tmp_path: Path) -> None:
    assert refusal(tmp_path, content).reason == "MALFORMED_MULTIPART"


@pytest.mark.parametrize("header", ["multipart/form-data", "multipart/form-data; boundary="])
def test_a_boundary_is_needed(header: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, b"", header=header).status_code == 400


@pytest.mark.parametrize("header", ["text/csv", "application/json"])
def test_another_type_is_415(header: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, b"", header=header).status_code == 415


@pytest.mark.parametrize(
    "content",
    [
        body(part("other", b"x")),
        body(part("../file", b"x")),
        body(part("", b"x")),
        body(part("file", b"x"), part("file", b"y")),
        body(b"--B\r\nContent-Type: text/plain\r\n\r\nx\r\n"),
    ],
)
def test_a_part_that_nobody_asked_for_is_refused(content: bytes, tmp_path: Path) -> None:
    assert isinstance(refusal(tmp_path, content), Invalid)
