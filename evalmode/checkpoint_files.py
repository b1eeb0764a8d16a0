"""What moves the files of checkpoints, as procedures: in `client.checkpoints` of both clients."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from evalmode.checkpoints import checkpoint_path, get
from evalmode.errors import BadAnswer, NoAnswer
from evalmode.resources import Checkpoint
from evalmode.runs import Spec, spec_body
from evalmode.saving import Saving
from evalmode.steps import Answer, Open, Read, Request, Steps, as_json, exchange, fetch, once

Format = Literal["onnx", "safetensors_folded"]


def download(checkpoint: str, path: str | Path) -> Steps[Path]:
    """Save a checkpoint's safetensors file; its bytes are compared with its sha256.

    A connection that breaks is taken up again where it broke. The path exists only once all
    bytes are there and right; nothing else is left.

    Raises:
        BadAnswer: the bytes have another checksum.
    """
    wanted = yield from get(checkpoint)
    with Saving(path) as file:
        while file.size < wanted.bytes:
            yield from _append(checkpoint, file)
        return file.keep(wanted.sha256.removeprefix("sha256:"))


def _append(checkpoint: str, file: Saving) -> Steps[None]:
    """Append what comes until the end or a break of the connection."""
    start = file.size
    headers = {"range": f"bytes={start}-"} if start else {}
    path = checkpoint_path(checkpoint, "download")
    answer: Answer = yield from exchange(Request("GET", path, headers=headers), Open)
    if start and answer.status != 206:
        raise BadAnswer("the service sent another part of the file", answer.status)
    try:
        while chunk := (yield Read()):
            file.write(chunk)
    except NoAnswer:
        if file.size == start:
            raise  # a break that brings nothing forward would be tried without end


def export(checkpoint: str, format: Format, path: str | Path) -> Steps[Path]:
    """Save a checkpoint in another form, which the service has compared with its eval mode.

    The path exists only once all bytes are there and are those of the answer's sha256.

    Args:
        checkpoint: its id.
        format: `"onnx"` takes raw rows, the scaling is inside; `"safetensors_folded"` is the
            state dict with each batch norm put into the layer before it.
        path: where the file goes.

    Raises:
        Invalid: the form cannot hold the network, or would answer too far from it.
        BadAnswer: the bytes have another checksum.
    """
    request = Request("GET", checkpoint_path(checkpoint, "export"), {"format": format})
    answer = yield from exchange(request)  # made anew for every request, so there are no ranges
    with Saving(path) as file:
        file.write(answer.body)
        return file.keep(answer.headers.get("etag", "").strip('"'))


def import_file(
    path: str | Path, spec: Spec, about: Mapping[str, Any] | None = None
) -> Steps[Checkpoint]:
    """Import a checkpoint that was trained elsewhere; `import_report` tells what was done.

    Args:
        path: a safetensors file with the names of a PyTorch state dict.
        spec: what was trained, as a mapping or `RunSpec`.
        about: what neither file nor spec say: `input_shape`, `classes` or `outputs`,
            `images`, `scaling`, `step`, `batches`, `averaged`, `frozen`.

    Raises:
        Invalid: the file is not that network's; the message names the tensor.
    """
    parts: dict[str, Path | bytes] = {
        "file": Path(path),
        "spec": as_json(spec_body(spec, {})),
    }
    if about is not None:
        parts["about"] = as_json(about)
    request = Request("POST", "/v1/checkpoints", headers=once(), files=parts)
    return fetch(request, Checkpoint.model_validate)
