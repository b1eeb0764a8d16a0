"""What a network's windows are judged by, made once at a checkpoint and kept in it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.statistics.drift.reference import recorded, running
from model.statistics.drift.scores import Reference
from model.statistics.drift.thresholds import Thresholds, calibrate


@dataclass(frozen=True)
class Calibration:
    """Thresholds, and reference moments where a network has no running statistics."""

    recorded: tuple[Reference, ...]  # empty where the running statistics are the reference
    thresholds: Thresholds

    def references(self, network: nn.Module) -> tuple[Reference, ...]:
        """What windows of the network are compared with, in network order."""
        return running(network) or self.recorded

    def to_json(self) -> dict[str, Any]:
        """Plain values for a checkpoint's metadata."""
        recorded = [reference.to_json() for reference in self.recorded]
        return {"recorded": recorded, "thresholds": self.thresholds.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Calibration":
        """The calibration that `to_json` wrote."""
        references = tuple(Reference.from_json(one) for one in data["recorded"])
        return cls(references, Thresholds.from_json(data["thresholds"]))


def calibration(
    network: nn.Module,
    trained: Tensor,
    calibration_rows: Tensor,
    block_rows: int,
    generator: torch.Generator,
) -> Calibration | None:
    """Record what is missing, and draw the windows.

    Args:
        trained: scaled rows that record reference moments, read only without batch norms.
        calibration_rows: scaled rows that trained nothing; too few leave it uncalibrated.
        block_rows, generator: see `calibrate`.

    Returns:
        None where a reference moment is not finite: nothing can be compared with it.
    """
    own = running(network)
    noted = () if own else recorded(network, trained, block_rows)
    references = own or noted
    if not all(_is_finite(reference) for reference in references):
        return None
    thresholds = calibrate(network, references, calibration_rows, block_rows, generator)
    return Calibration(noted, thresholds)


def _is_finite(reference: Reference) -> bool:
    return bool(reference.mean.isfinite().all() and reference.variance.isfinite().all())
