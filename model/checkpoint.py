"""A network with its running statistics, its spec and its scaling, as one safetensors file.

Tensors carry PyTorch's state-dict names, so the file loads with `strict=True` into the same
layers written by hand. Everything else is JSON text in the file's metadata.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from model.blocks import block_rows
from model.data.dataset import Facts
from model.data.scaling import Scaling
from model.errors import (
    CheckpointRefused,
    ChecksumMismatch,
    ShapeMismatch,
    StatisticsChanged,
    StatisticsMissing,
)
from model.memory import item_bytes
from model.networks.build import build
from model.plan import plan
from model.sizes import Plan
from model.spec import RunSpec
from model.statistics.fingerprint import fingerprint, is_statistic, weights_hash
from model.training.arrays import dtype_of

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Written:
    """What a written file is known by."""

    path: Path
    sha256: str  # of the whole file, hex
    num_bytes: int
    statistics: str  # fingerprint of the running statistics
    weights: str  # hash of everything else
    norm_layers: int  # layers with running statistics


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory, its network in eval mode."""

    spec: RunSpec
    facts: Facts
    scaling: Scaling
    network: nn.Module
    block_rows: int  # rows to pass through it at once
    step: int
    statistics: str  # fingerprint, verified against the tensors
    unknown_age: tuple[str, ...] = ()  # as in `About`


def write(path: Path, tensors: Mapping[str, Tensor], about: "About") -> Written:
    """Write a checkpoint file; the same content gives the same bytes.

    The caller moves the file to its place: that is when it is flushed to the disk.
    """
    statistics = fingerprint(tensors)
    content = to_bytes(tensors, about.metadata(statistics))
    path.write_bytes(content)
    layers = {name.rpartition(".")[0] for name in tensors if is_statistic(name)}
    return Written(
        path,
        hashlib.sha256(content).hexdigest(),
        len(content),
        statistics,
        weights_hash(tensors),
        len(layers),
    )


@dataclass(frozen=True)
class About:
    """What a checkpoint says of its tensors."""

    spec: RunSpec
    facts: Facts
    scaling: Scaling
    step: int
    #: Layers whose num_batches_tracked was not in an imported file: 0 stands for "unknown".
    unknown_age: tuple[str, ...] = ()

    def metadata(self, statistics: str) -> dict[str, str]:
        """The file's metadata: JSON text under each key."""
        values = {
            "format_version": FORMAT_VERSION,
            "spec": self.spec.model_dump(mode="json"),
            "facts": self.facts.to_json(),
            "classes": self.facts.classes,
            "scaling": self.scaling.to_json(),
            "step": self.step,
            "statistics": statistics,
        }
        if self.unknown_age:
            values["unknown_age"] = self.unknown_age
        return {name: json.dumps(value) for name, value in values.items()}


def to_bytes(tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors file in memory.

    The library writes metadata in the order of a hash map that differs from process to
    process; here it is sorted, so that equal checkpoints are equal files.
    """
    content = safetensors.torch.save(dict(tensors), metadata)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def read(path: Path, sha256: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a safetensors file of ours, copied into memory.

    Raises:
        ChecksumMismatch: the bytes are not the recorded ones.
        CheckpointRefused: not a safetensors file, or its metadata is not JSON.
    """
    content = path.read_bytes()
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ChecksumMismatch("the file's bytes differ from what was written", sha256=sha256)
    try:
        tensors = safetensors.torch.load(content)
        with safe_open(path, "pt") as file:
            metadata = {name: json.loads(text) for name, text in (file.metadata() or {}).items()}
    except (SafetensorError, ValueError) as error:
        raise CheckpointRefused("not a readable safetensors file") from error
    return tensors, metadata


def load(path: Path, sha256: str | None = None, device: str = "cpu") -> Loaded:
    """Load a checkpoint strictly, in eval mode, its statistics checked against their fingerprint.

    Raises:
        ChecksumMismatch, CheckpointRefused: see `read`; also another format version.
        StatisticsMissing: a norm layer's running statistics are not in the file.
        StatisticsChanged: the running statistics are not those of the recorded fingerprint.
        ShapeMismatch: tensors that do not fit the spec's network.
    """
    tensors, metadata = read(path, sha256)
    if metadata.get("format_version") != FORMAT_VERSION:
        raise CheckpointRefused(f"expected format version {FORMAT_VERSION}")
    spec = RunSpec.model_validate(metadata["spec"])
    facts = Facts.from_json(metadata["facts"])
    planned = plan(spec, facts)
    network = _assemble(spec, planned, tensors).to(device)
    recorded, found = metadata["statistics"], fingerprint(tensors)
    if found != recorded:
        raise StatisticsChanged(
            "the running statistics differ from their fingerprint", recorded=recorded, found=found
        )
    scaling = Scaling.from_json(metadata["scaling"])
    return Loaded(
        spec,
        facts,
        scaling,
        network,
        block_rows(planned, item_bytes(spec)),
        metadata["step"],
        metadata["statistics"],
        tuple(metadata.get("unknown_age", ())),
    )


def _assemble(spec: RunSpec, planned: Plan, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The spec's network with exactly these tensors, in eval mode."""
    with torch.device("meta"):
        network = build(planned, dtype=dtype_of(spec))
    _refuse_misfits(network.state_dict(), tensors)
    network.load_state_dict(dict(tensors), strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _refuse_misfits(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    missing = sorted(set(wanted) - set(given))
    forgotten = [name for name in missing if is_statistic(name)]
    if forgotten:
        raise StatisticsMissing(
            f"running statistics are missing: {', '.join(forgotten[:8])}", missing=forgotten
        )
    unexpected = sorted(set(given) - set(wanted))
    if missing or unexpected:
        raise ShapeMismatch(
            f"tensors of another network: missing {missing[:8]}, unexpected {unexpected[:8]}",
            missing=missing,
            unexpected=unexpected,
        )
    for name, tensor in wanted.items():
        if tensor.shape != given[name].shape or tensor.dtype != given[name].dtype:
            raise ShapeMismatch(
                f"{name}: expected {tuple(tensor.shape)} {tensor.dtype}, "
                f"got {tuple(given[name].shape)} {given[name].dtype}",
                name=name,
            )
