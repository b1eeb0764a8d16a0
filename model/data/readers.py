"""The file formats a dataset is uploaded in."""

from collections.abc import Callable
from pathlib import Path

from model.data import csv_file, idx_file, image_zip, npz_file, parquet_file, text_file
from model.data.dataset import Dataset
from model.data.options import ReadOptions
from model.errors import DatasetInvalid

_READERS: dict[str, Callable[[Path, ReadOptions], Dataset]] = {
    "csv": csv_file.read,
    "parquet": parquet_file.read,
    "npz": npz_file.read,
    "idx": idx_file.read,
    "image_zip": image_zip.read,
    "text": text_file.read,
}
FORMATS = tuple(_READERS)


def read(format: str, path: Path, options: ReadOptions) -> Dataset:
    """Read an uploaded file into memory; it is left as it was.

    Raises:
        DatasetInvalid: names the row, column, line, member or part at fault.
        DatasetTooLarge: more than `options.limits`.
        OSError: the file cannot be opened.
    """
    if format not in _READERS:
        raise DatasetInvalid(f"the format must be one of {', '.join(FORMATS)}", formats=FORMATS)
    return _READERS[format](path, options)
