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


def check_file(path: Path) -> None:
    """Look whether a file can be read at all, before anything is sent.

    Raises:
        RowsUnreadable: there is none, it is no plain file, or it may not be read.
    """
    try:
        if not path.is_file():
            raise RowsUnreadable(f"{path} is no file" if path.exists() else f"no file {path}")
        path.open("rb").close()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise RowsUnreadable(f"{path} cannot be read: {why}") from None


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
            return _checked(np.asarray(rows, dtype=np.float64))
        if path.suffix.lower() == ".csv":
            return _checked(_csv(path))
    except KeyError:
        raise RowsUnreadable(f"{path} holds no rows of numbers: no 'inputs' in it") from None
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise RowsUnreadable(f"{path} holds no rows of numbers: {error}") from None
    known = ", ".join([".csv", ".json", *MEDIA_TYPES])
    raise RowsUnreadable(f"{path} is of an unknown kind; known are {known}")


def _checked(rows: np.ndarray) -> np.ndarray:
    """The rows as float32; numbers too large for it become infinite, which the service refuses."""
    if rows.ndim == 0 or rows.size == 0:
        raise ValueError("there are none")
    with np.errstate(over="ignore"):
        return rows.astype(np.float32)


def _csv(path: Path) -> np.ndarray:
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline()
        try:
            [float(cell) for cell in first.split(",")]
        except ValueError:
            pass  # a header
        else:
            file.seek(0)
        lines = [line for line in file if line.strip()]
    return np.loadtxt(lines, delimiter=",", ndmin=2) if lines else np.empty((0, 0))
