"""Raw rows of a dataset on which a network in another form is compared with it."""

import numpy as np
import numpy.typing as npt

from api.dataset_arrays import mapped
from core import datasets
from core.database import Database
from core.datasets import Dataset
from core.errors import DatasetNotFound, FileMissing
from core.files import FileStore

MOST_ROWS = 256  # evenly over the dataset, so that a sorted file gives every class


def calibration_rows(
    files: FileStore, dataset: Dataset, most: int = MOST_ROWS
) -> npt.NDArray[np.generic]:
    """Evenly spaced rows, the first and the last among them.

    Args:
        most: rows, unless the dataset has fewer.

    Shape:
        returns: (n, *input_shape).

    Raises:
        FileMissing, StoreUnavailable: the rows cannot be read.
    """
    rows = mapped(files, dataset, "inputs")
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)
    return rows[chosen]


def rows_if_there(
    database: Database, files: FileStore, name: str, most: int
) -> npt.NDArray[np.generic] | None:
    """The rows of a dataset by its id or name; None where it is not there any more.

    Raises:
        DatabaseUnavailable, StoreUnavailable: that is not known now.
    """
    try:
        return calibration_rows(files, database.read(lambda c: datasets.get(c, name)), most)
    except (DatasetNotFound, FileMissing):
        return None
