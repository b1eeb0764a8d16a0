"""A finished export, and what it is compared with: the answers that the service gives.

It knows no file format.
"""

import json
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.checkpoint import Loaded
from model.networks.comparison import Comparison, logits
from model.networks.fold import Folded
from model.norms.running import RunningNorm
from model.predict import Predictor

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Exported:
    """A file in memory, verified on calibration rows."""

    content: bytes
    metadata: dict[str, str]  # JSON text by key, as it stands in the file
    comparison: Comparison


@dataclass(frozen=True)
class Reference:
    """Calibration rows and what the network as trained answers to them."""

    inputs: Tensor  # (n, *row), scaled, of the network's type, on the CPU
    unfolded: Tensor  # (n, outputs): what the service answers on a CPU
    exact: Tensor  # (n, outputs): the same network in float64


def reference(loaded: Loaded, rows: npt.NDArray[np.generic]) -> Reference:
    """Answer calibration rows with the network as trained.

    Args:
        rows: raw, as `Predictor.logits` takes them.

    Raises:
        InputRefused: rows that the network cannot answer.
    """
    # On a GPU, convolutions may round to 10 bits; what they lose must not widen what is allowed.
    network = on_cpu(loaded.network)
    unfolded = torch.from_numpy(Predictor(replace(loaded, network=network)).logits(rows))
    whole = rows.reshape(len(rows), *loaded.facts.input_shape)
    scaled = loaded.scaling.apply(whole, dtype=unfolded.numpy().dtype)
    inputs = torch.from_numpy(np.ascontiguousarray(scaled))
    exact = logits(network.double(), inputs.double(), loaded.block_rows)
    return Reference(inputs, unfolded, exact)


def on_cpu(network: nn.Module) -> nn.Module:
    """A copy in eval mode that belongs to the caller."""
    return deepcopy(network).cpu().eval().requires_grad_(False)


def metadata(loaded: Loaded, folded: Folded, comparison: Comparison) -> dict[str, str]:
    """What an export says of itself: where it comes from, what was folded, what was verified."""
    values = {
        "export_version": FORMAT_VERSION,
        "spec": loaded.spec.model_dump(mode="json"),
        "step": loaded.step,
        "statistics": loaded.statistics,
        "input_shape": loaded.facts.input_shape,
        "classes": loaded.facts.classes,
        "scaling": loaded.scaling.to_json(),
        "folded": [asdict(one) for one in folded.in_layers],
        "stayed": [_stayed(folded, one.norm, one.behind) for one in folded.stayed],
        "comparison": comparison.to_json(),
    }
    return {name: json.dumps(value) for name, value in values.items()}


def _stayed(folded: Folded, name: str, behind: str) -> dict[str, Any]:
    norm = folded.network.get_submodule(name)
    assert isinstance(norm, RunningNorm)
    return {"norm": name, "behind": behind, "eps": norm.eps}
