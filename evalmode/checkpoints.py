"""What can be asked of checkpoints, as procedures: `client.checkpoints` of both clients."""

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

from evalmode.errors import BadAnswer, NoAnswer
from evalmode.resources import Checkpoint
from evalmode.steps import Answer, Open, Read, Request, Steps, exchange, fetch


def checkpoint_path(checkpoint: str) -> str:
    """The path of a checkpoint."""
    return f"/v1/checkpoints/{quote(checkpoint, safe='')}"


def get(checkpoint: str) -> Steps[Checkpoint]:
    """One checkpoint by its id."""
    return fetch(Request("GET", checkpoint_path(checkpoint)), Checkpoint.model_validate)


def download(checkpoint: str, path: str | Path) -> Steps[Path]:
    """Save a checkpoint's safetensors file; its bytes are compared with its sha256.

    A connection that breaks is taken up again where it broke. The path exists only once all
    bytes are there and right; nothing else is left.

    Raises:
        BadAnswer: the bytes have another checksum.
    """
    wanted = yield from get(checkpoint)
    target = Path(path)
    partial = target.with_name(target.name + ".partial")
    digest = hashlib.sha256()
    try:
        with partial.open("wb") as file:
            while file.tell() < wanted.bytes:
                yield from _append(checkpoint, file, digest)
        if digest.hexdigest() != wanted.sha256.removeprefix("sha256:"):
            raise BadAnswer(f"the bytes of {checkpoint} are not those of its sha256")
        return partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _append(checkpoint: str, file: Any, digest: Any) -> Steps[None]:
    """Append what comes until the end or a break of the connection."""
    start = file.tell()
    headers = {"range": f"bytes={start}-"} if start else {}
    path = f"{checkpoint_path(checkpoint)}/download"
    answer: Answer = yield from exchange(Request("GET", path, headers=headers), Open)
    if start and answer.status != 206:
        raise BadAnswer("the service sent another part of the file", answer.status)
    try:
        while chunk := (yield Read()):
            file.write(chunk)
            digest.update(chunk)
    except NoAnswer:
        if file.tell() == start:
            raise  # a break that brings nothing forward would be tried without end
