"""The arrays of a dataset, as its record names them: mapped from the store and not read."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from core.datasets import Dataset
from core.errors import FileMissing
from core.files import FileStore

Name = Literal["inputs", "targets"]
ARRAYS: tuple[Name, Name] = ("inputs", "targets")


def mapped(files: FileStore, dataset: Dataset, name: Name) -> npt.NDArray[Any]:
    """An array of a dataset, one entry per row; it stays readable when its file is deleted.

    Raises:
        FileMissing, StoreUnavailable: it cannot be read.
    """
    key = f"{dataset.prefix}/{name}.npy"
    try:
        array: npt.NDArray[Any] = np.load(files.local(key), mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:  # deleted since it was found
        raise FileMissing("The rows have just been deleted.", key=key) from error
    return array
