"""Reads the rows of `evalmode predict` from a file: numbers, or one image."""

import json
from pathlib import Path
from typing import Any

import numpy as np

MEDIA_TYPES = {
    ".npy": "application/x-npy",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
}


class RowsUnreadable(Exception):
    """The file holds no rows; the message says why."""


def media_type(path: Path) -> str | None:
    """What the service reads by itself, so that the file is sent as it is."""
    return MEDIA_TYPES.get(path.suffix.lower())


def read_rows(path: Path) -> Any:
    """Rows of numbers from a CSV or JSON file.

    A first line of CSV that is not numbers is taken as its header. JSON is a list of rows, or
    an object that has them under `inputs`.

    Raises:
        RowsUnreadable: the file is of another kind, or holds something else than numbers.
    """
    try:
        if path.suffix.lower() == ".json":
            found = json.loads(path.read_bytes())
            rows = found["inputs"] if isinstance(found, dict) else found
            return np.asarray(rows, dtype=np.float32)
        if path.suffix.lower() == ".csv":
            return _csv(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RowsUnreadable(f"{path} holds no rows of numbers: {error}") from None
    known = ", ".join([".csv", ".json", *MEDIA_TYPES])
    raise RowsUnreadable(f"{path} is of an unknown kind; known are {known}")


def _csv(path: Path) -> Any:
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline()
        try:
            [float(cell) for cell in first.split(",")]
        except ValueError:
            pass  # a header
        else:
            file.seek(0)
        return np.loadtxt(file, delimiter=",", dtype=np.float32, ndmin=2)
