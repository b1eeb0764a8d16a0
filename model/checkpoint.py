"""A network with its running statistics, its spec and its scaling, as one safetensors file.

Tensors carry PyTorch's state-dict names, so the file loads with `strict=True` into the same
layers written by hand. Everything else is JSON text in the file's metadata.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from model.blocks import block_rows
from model.composition import METADATA, composed, head_bytes, header, with_length
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
from model.statistics.drift.calibration import Calibration
from model.statistics.evidence import Evidence
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
    about: "About"
    statistics: str  # fingerprint, verified against the tensors

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.about.step


def write(path: Path, tensors: Mapping[str, Tensor], about: "About") -> Written:
    """Write a checkpoint file; the same content gives the same bytes.

    The caller moves the file to its place: that is when it is flushed to the disk.
    """
    content = to_bytes(tensors, about.metadata(fingerprint(tensors)))
    path.write_bytes(content)
    return _written(path, tensors, content)


def _written(path: Path, tensors: Mapping[str, Tensor], content: bytes) -> Written:
    layers = {name.rpartition(".")[0] for name in tensors if is_statistic(name)}
    return Written(
        path,
        hashlib.sha256(content).hexdigest(),
        len(content),
        fingerprint(tensors),
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
    #: Batches that every counter must say; None: that is not known.
    batches: int | None = None
    #: Layers whose num_batches_tracked was not in an imported file: 0 stands for "unknown".
    unknown_age: tuple[str, ...] = ()
    #: Share of the initial 0 and 1 in statistics whose counters do not tell it; None: they do.
    initial_share: float | None = None
    #: The weights are an average, on which no statistics have been measured.
    is_averaged: bool = False
    #: Fingerprints, by layer, of statistics that must not have moved.
    frozen: Mapping[str, str] = field(default_factory=dict)
    #: What drift is told by; None: nobody has calibrated.
    drift: Calibration | None = None
    #: How the statistics of a revision came about; JSON-ready.
    made_by: Mapping[str, Any] | None = None

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
        known = {
            "batches": self.batches,
            "unknown_age": self.unknown_age or None,
            "initial_share": self.initial_share,
            "averaged": self.is_averaged or None,
            "frozen": dict(self.frozen) or None,
            "drift": self.drift and self.drift.to_json(),
            "made_by": self.made_by,
        }
        values |= {name: value for name, value in known.items() if value is not None}
        return {name: json.dumps(value) for name, value in values.items()}

    def evidence(self, **found: Any) -> Evidence:
        """What a diagnosis may know of the tensors.

        Args:
            found: further fields, of what was measured.
        """
        return Evidence(
            batches=self.batches,
            unknown_age=self.unknown_age,
            initial_share=self.initial_share,
            is_averaged=self.is_averaged,
            frozen=self.frozen,
            **found,
        )

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> "About":
        """What `metadata` wrote, as `read` gives it back."""
        drift = metadata.get("drift")
        return cls(
            RunSpec.model_validate(metadata["spec"]),
            Facts.from_json(metadata["facts"]),
            Scaling.from_json(metadata["scaling"]),
            metadata["step"],
            metadata.get("batches"),
            tuple(metadata.get("unknown_age", ())),
            metadata.get("initial_share"),
            metadata.get("averaged", False),
            metadata.get("frozen", {}),
            None if drift is None else Calibration.from_json(drift),
            metadata.get("made_by"),
        )


def write_revision(path: Path, tensors: Mapping[str, Tensor], about: About) -> Written:
    """Write the running statistics among a network's tensors as a file of their own.

    Returns:
        What the whole is known by, which is composed of this file and the weights' own.
    """
    metadata = about.metadata(fingerprint(tensors))
    whole = to_bytes(tensors, metadata)
    own = {name: tensor for name, tensor in tensors.items() if is_statistic(name)}
    path.write_bytes(to_bytes(own, metadata))
    return _written(path, tensors, whole)


def to_bytes(tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors file in memory.

    The library writes metadata in the order of a hash map that differs from process to
    process; here it is sorted, so that equal checkpoints are equal files.
    """
    content = safetensors.torch.save(dict(tensors), metadata)
    length = head_bytes(content)
    head = header(content[:length])
    head[METADATA] = dict(sorted(head[METADATA].items()))
    return with_length(head) + content[length:]


def read(
    path: Path, sha256: str | None = None, statistics: Path | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a safetensors file of ours, copied into memory.

    Args:
        sha256: of the file, or with `statistics` of what is composed of the two.
        statistics: a file that `write_revision` wrote, whose statistics and metadata count.

    Raises:
        ChecksumMismatch: the bytes are not the recorded ones.
        CheckpointRefused: not a safetensors file, or its metadata is not JSON.
    """
    content = path.read_bytes()
    if statistics is not None:
        content = composed(content, statistics.read_bytes())
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ChecksumMismatch("the file's bytes differ from what was written", sha256=sha256)
    try:
        tensors = safetensors.torch.load(content)
        texts = header(content[: head_bytes(content)]).get(METADATA, {})
        metadata = {name: json.loads(text) for name, text in texts.items()}
    except (SafetensorError, ValueError) as error:
        raise CheckpointRefused("not a readable safetensors file") from error
    return tensors, metadata


def load(
    path: Path, sha256: str | None = None, device: str = "cpu", statistics: Path | None = None
) -> Loaded:
    """Load a checkpoint strictly, in eval mode, its statistics checked against their fingerprint.

    Args:
        sha256, statistics: see `read`.

    Raises:
        ChecksumMismatch, CheckpointRefused: see `read`; also another format version.
        StatisticsMissing: a norm layer's running statistics are not in the file.
        StatisticsChanged: the running statistics are not those of the recorded fingerprint.
        ShapeMismatch: tensors that do not fit the spec's network.
    """
    tensors, metadata = read(path, sha256, statistics)
    if metadata.get("format_version") != FORMAT_VERSION:
        raise CheckpointRefused(f"expected format version {FORMAT_VERSION}")
    loaded = assembled(tensors, About.from_metadata(metadata), device)
    recorded, found = metadata["statistics"], loaded.statistics
    if found != recorded:
        raise StatisticsChanged(
            "the running statistics differ from their fingerprint", recorded=recorded, found=found
        )
    return loaded


def assembled(tensors: Mapping[str, Tensor], about: About, device: str = "cpu") -> Loaded:
    """The checkpoint that a file of these tensors is loaded as.

    Raises:
        StatisticsMissing, ShapeMismatch: see `load`.
    """
    spec, facts = about.spec, about.facts
    planned = plan(spec, facts)
    return Loaded(
        spec,
        facts,
        about.scaling,
        _assemble(spec, planned, tensors).to(device),
        block_rows(planned, item_bytes(spec)),
        about,
        fingerprint(tensors),
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
