"""A safetensors file that anybody may have written: its tensors, and what it says of itself.

Every size comes from the header and is checked by the library against the bytes that are there,
before memory is asked for. Tensors are mapped and not read: what is not wanted costs nothing.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from torch import Tensor

from model.composition import LENGTH_BYTES, head_bytes
from model.data.scaling import Scaling
from model.errors import CheckpointRefused
from model.importing import History
from model.plan import MAX_LAYERS
from model.spec import MAX_STEPS

MOST_HEADER_BYTES = 16 * 2**20  # parsed, it takes several times as much
MOST_TENSORS = 8 * MAX_LAYERS  # no layer has more than five


LayerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]{1,200}$")]
Fingerprint = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]


@dataclass(frozen=True)
class OwnWords:
    """What a checkpoint of ours says beside its tensors, as far as an import keeps it."""

    scaling: Scaling
    history: History


@dataclass(frozen=True)
class ForeignFile:
    """A file, opened; read its tensors before it is deleted."""

    tensors: dict[str, Tensor]  # mapped, read-only
    own: OwnWords | None  # None: it is no checkpoint of ours


class _Metadata(BaseModel):
    """What `model.checkpoint.About` writes, the rest of it aside."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    scaling: dict[str, Any]
    step: Annotated[int, Field(ge=0, le=MAX_STEPS)]
    batches: Annotated[int, Field(ge=0, le=MAX_STEPS)] | None = None
    averaged: bool = False
    frozen: dict[LayerName, Fingerprint] = {}
    unknown_age: list[LayerName] = []
    initial_share: Annotated[float, Field(ge=0, le=1)] | None = None


def open_foreign(path: Path) -> ForeignFile:
    """Map a file's tensors, and parse its metadata where the format is ours.

    Raises:
        CheckpointRefused: not a safetensors file, larger in its header than any network's, or
            with metadata that we would not have written.
    """
    _refuse_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            if len(names) > MOST_TENSORS:
                message = f"the file has {len(names)} tensors; at most {MOST_TENSORS} are read"
                raise CheckpointRefused(message, tensors=len(names), limit=MOST_TENSORS)
            tensors = {name: file.get_tensor(name) for name in names}
            metadata = file.metadata() or {}
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointRefused("not a readable safetensors file") from error
    return ForeignFile(tensors, _own(metadata) if "format_version" in metadata else None)


def _refuse_header(path: Path) -> None:
    with path.open("rb") as file:
        declared = head_bytes(file.read(LENGTH_BYTES)) - LENGTH_BYTES
    if declared > MOST_HEADER_BYTES:
        message = f"a header of {declared} bytes; at most {MOST_HEADER_BYTES} are read"
        raise CheckpointRefused(message, header_bytes=declared, limit=MOST_HEADER_BYTES)


def _own(metadata: dict[str, str]) -> OwnWords:
    try:
        told = _Metadata.model_validate({name: json.loads(text) for name, text in metadata.items()})
        scaling = Scaling.parsed(told.scaling)
    except (ValueError, RecursionError) as error:
        raise CheckpointRefused("its metadata is not what this format has") from error
    history = History(
        told.step,
        told.batches,
        told.averaged,
        told.frozen,
        tuple(told.unknown_age),
        told.initial_share,
    )
    return OwnWords(scaling, history)
