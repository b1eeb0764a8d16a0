"""A dataset as the tensors that training reads: split, scaled, on the device."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.data.dataset import Dataset
from model.data.scaling import Scaling
from model.data.split import rows as split_rows
from model.spec import RunSpec
from model.training.losses import targets_for


@dataclass(frozen=True)
class Part:
    """Rows of one role: inputs (n, *input_shape) scaled, targets as the loss wants them."""

    inputs: Tensor
    targets: Tensor
    classes: Tensor | None  # (n,) int64 class indices; None for regression

    def __len__(self) -> int:
        return len(self.inputs)

    def cpu(self) -> "Part":
        """The same rows in main memory."""
        classes = None if self.classes is None else self.classes.cpu()
        return Part(self.inputs.cpu(), self.targets.cpu(), classes)


@dataclass(frozen=True)
class Arrays:
    """The rows of one run by their role, and the scaling fitted on the first."""

    train: Part
    validation: Part
    test: Part
    calibration: Part  # nothing is fitted to these, nor chosen by them
    scaling: Scaling


def dtype_of(spec: RunSpec) -> torch.dtype:
    """Type of parameters and inputs; bfloat16 keeps float32 masters."""
    return torch.float64 if spec.precision == "float64" else torch.float32


def prepare(
    dataset: Dataset, spec: RunSpec, device: torch.device, scaling: Scaling | None = None
) -> Arrays:
    """Split, fit the scaling on the training rows alone, scale, and move to the device.

    Args:
        scaling: as fitted before, to be taken instead.
    """
    rows = split_rows(dataset.facts, dataset.targets, spec.split)
    if scaling is None:
        scaling = Scaling.fit(spec.scaling, dataset.inputs[rows.train], dataset.facts.images)

    def part(indices: np.ndarray) -> Part:
        return part_of(dataset, indices, scaling, spec, device)

    return Arrays(
        part(rows.train), part(rows.validation), part(rows.test), part(rows.calibration), scaling
    )


def part_of(
    dataset: Dataset, indices: np.ndarray, scaling: Scaling, spec: RunSpec, device: torch.device
) -> Part:
    """Some rows of a dataset, scaled, with targets as the spec's loss wants them."""
    assert spec.loss is not None
    dtype = dtype_of(spec)
    numpy_type = np.float64 if dtype == torch.float64 else np.float32
    inputs = torch.from_numpy(scaling.apply(dataset.inputs[indices], dtype=numpy_type))
    targets = torch.from_numpy(np.array(dataset.targets[indices]))
    is_classes = dataset.facts.task == "classification"
    wanted = targets_for(spec.loss.kind, targets, dataset.facts.outputs, dtype)
    return Part(inputs.to(device), wanted.to(device), targets.to(device) if is_classes else None)
