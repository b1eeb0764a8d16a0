"""A dataset: rows with targets, what is known of them, and the three files that hold them.

Knows nothing of where rows come from (`readers`, `builtin`) nor of how they are divided
(`split`) or scaled (`scaling`).
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model.data.inputs import count_indices
from model.errors import DatasetInvalid

Task = Literal["classification", "regression"]
_HASH_BLOCK_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Facts:
    """What may be known of a dataset without its rows. JSON-ready.

    Raises:
        ValueError: the dataset's own split does not cover its rows.
    """

    rows: int
    #: Axes of one row: (features,) or (channels, height, width).
    input_shape: tuple[int, ...]
    #: Class names, index = target; None for regression.
    classes: tuple[str, ...] | None
    #: Classes, or numbers per row of a regression.
    outputs: int
    task: Task
    #: The dataset's own split: the first `train_rows` rows train and the `test_rows` after
    #: them test. None and None: the run's spec decides.
    train_rows: int | None
    test_rows: int | None
    #: Inputs are uint8 pixels, divided by 255 before anything else.
    images: bool
    #: "sha256:..." over the content and all of the above.
    fingerprint: str
    #: Indices that the rows hold: one more than the largest, where every value is a whole number
    #: from 0; 0 where one is not. None: they are pixels, or nobody has looked.
    indices: int | None = None

    def __post_init__(self) -> None:
        if (self.train_rows is None) != (self.test_rows is None):
            raise ValueError("train_rows and test_rows are given together or not at all")
        if self.train_rows is not None and self.train_rows + (self.test_rows or 0) != self.rows:
            raise ValueError(
                f"own split of {self.train_rows} + {self.test_rows} rows, {self.rows} rows in all"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` turns back into equal facts."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Facts":
        """The facts that `to_json` wrote."""
        classes = data["classes"]
        return cls(
            **{
                **data,
                "input_shape": tuple(data["input_shape"]),
                "classes": None if classes is None else tuple(classes),
            }
        )


@dataclass(frozen=True)
class Dataset:
    """Rows with their targets.

    Inputs keep the precision of their source, so that a float64 run loses nothing: pixels are
    uint8; numbers are float32 where that holds them exactly, else float64.

    Shape:
        inputs: (rows, *input_shape), uint8, float32 or float64.
        targets: (rows,) int64, indices into `classes`; for regression (rows, outputs) float64.
    """

    inputs: np.ndarray
    targets: np.ndarray
    facts: Facts


def describe(
    inputs: np.ndarray,
    targets: np.ndarray,
    classes: tuple[str, ...] | None,
    *,
    images: bool = False,
    train_rows: int | None = None,
) -> Dataset:
    """Join arrays that are already checked to a dataset and compute its facts.

    Args:
        train_rows: length of the dataset's own training part, when it brings one.
    """
    known: dict[str, Any] = {
        "rows": len(inputs),
        "input_shape": inputs.shape[1:],
        "classes": classes,
        "outputs": targets.shape[1] if classes is None else len(classes),
        "task": "regression" if classes is None else "classification",
        "train_rows": train_rows,
        "test_rows": None if train_rows is None else len(inputs) - train_rows,
        "images": images,
    }
    fingerprint = _fingerprint(known, inputs, targets)
    indices = None if images else count_indices(inputs)
    return Dataset(inputs, targets, Facts(**known, fingerprint=fingerprint, indices=indices))


def _fingerprint(known: dict[str, Any], inputs: np.ndarray, targets: np.ndarray) -> str:
    digest = hashlib.sha256()
    header = {**known, "dtypes": [inputs.dtype.name, targets.dtype.name]}
    digest.update(json.dumps(header, sort_keys=True).encode())
    for array in (inputs, targets):
        for block in _little_endian_blocks(array):
            digest.update(block)
    return "sha256:" + digest.hexdigest()


def _little_endian_blocks(array: np.ndarray) -> Iterator[memoryview]:
    """The array's bytes, some rows at a time, so that a mapped file is never copied whole."""
    step = max(1, _HASH_BLOCK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        block = array[start : start + step]
        yield np.ascontiguousarray(block, block.dtype.newbyteorder("<")).data


def save(dataset: Dataset, folder: Path) -> None:
    """Write `inputs.npy`, `targets.npy` and `facts.json` into an existing folder."""
    np.save(folder / "inputs.npy", dataset.inputs, allow_pickle=False)
    np.save(folder / "targets.npy", dataset.targets, allow_pickle=False)
    (folder / "facts.json").write_text(json.dumps(dataset.facts.to_json()), encoding="utf-8")


def load(folder: Path) -> Dataset:
    """Map what `save` wrote into memory, read-only: rows are read when they are used.

    Raises:
        DatasetInvalid: the files do not belong together.
        OSError: a file is missing or unreadable.
    """
    facts = Facts.from_json(json.loads((folder / "facts.json").read_text(encoding="utf-8")))
    inputs = np.load(folder / "inputs.npy", mmap_mode="r", allow_pickle=False)
    targets = np.load(folder / "targets.npy", mmap_mode="r", allow_pickle=False)
    if inputs.shape != (facts.rows, *facts.input_shape) or len(targets) != facts.rows:
        raise DatasetInvalid(
            f"the stored arrays have shapes {inputs.shape} and {targets.shape}, "
            f"the facts say {facts.rows} rows of {facts.input_shape}",
            inputs=list(inputs.shape),
            targets=list(targets.shape),
            rows=facts.rows,
            input_shape=list(facts.input_shape),
        )
    return Dataset(inputs, targets, facts)
