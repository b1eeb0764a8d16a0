"""Inputs and targets that a reader found become one dataset, checked against each other."""

import numpy as np

from model.data.dataset import Dataset, describe
from model.data.options import Limits
from model.data.targets import Targets, check_classes
from model.errors import DatasetInvalid


def assemble(
    inputs: np.ndarray,
    targets: Targets,
    limits: Limits,
    *,
    images: bool = False,
    train_rows: int | None = None,
) -> Dataset:
    """Join inputs and targets to a dataset once both are long enough, and of one length.

    Raises:
        DatasetInvalid: lengths differ, fewer than two rows or classes, a class without a
            usable name.
        DatasetTooLarge: more classes than the limit.
    """
    if len(inputs) != len(targets.values):
        raise DatasetInvalid(
            f"{len(inputs)} rows of inputs, {len(targets.values)} targets",
            inputs=len(inputs),
            targets=len(targets.values),
        )
    if len(inputs) < 2:
        raise DatasetInvalid(
            f"a dataset needs at least 2 rows, this one has {len(inputs)}",
            rows=len(inputs),
            least=2,
        )
    check_classes(targets, limits)
    return describe(inputs, targets.values, targets.classes, images=images, train_rows=train_rows)
