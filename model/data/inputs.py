"""Raw numbers to input rows: their sizes, their range and the type they are stored in.

Knows no file format; whoever read the numbers says what a column is called.
"""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from model.data.options import Limits
from model.errors import DatasetInvalid, DatasetTooLarge

#: Beyond this, differences of two values leave float32.
LARGEST = np.float64(1e38)
_NO_INDEX = 2**31
_BLOCK_VALUES = 2**20
_READ_BYTES = 2**20


def shown(name: str) -> str:
    """A name from a file, safe and short enough for a message: escaped, 60 characters at most."""
    short = name if len(name) <= 60 else name[:57] + "..."
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in short
    )


def check_size(rows: int, columns: int, value_bytes: int, limits: Limits) -> None:
    """Refuse declared sizes over the limits; plain integers, so nothing can overflow.

    Raises:
        DatasetTooLarge: names the size that is too large and its limit.
    """
    sizes = (
        ("rows", rows, limits.max_rows),
        ("numbers a row", columns, limits.max_columns),
        ("numbers", rows * columns, limits.max_values),
        ("bytes", rows * columns * value_bytes, limits.max_bytes),
    )
    for unit, size, limit in sizes:
        if size > limit:
            raise DatasetTooLarge(
                f"{size} {unit}, at most {limit} are accepted", size=size, limit=limit, unit=unit
            )


def check_unpacked(size: int, limits: Limits) -> None:
    """Refuse what a file declares that it holds once it is unpacked.

    Args:
        size: bytes.

    Raises:
        DatasetTooLarge: more than are accepted.
    """
    if size > limits.max_bytes:
        raise DatasetTooLarge(
            f"{size} bytes unpacked, at most {limits.max_bytes} are accepted",
            size=size,
            limit=limits.max_bytes,
            unit="bytes",
        )


def read_values(file: BinaryIO, count: int, dtype: np.dtype) -> tuple[np.ndarray, int]:
    """Read `count` values to the end of a file, after `check_size`.

    Returns:
        The values, and the bytes found: fewer than theirs where the file ends early, one more
        where it goes on. Reading on is also what makes an archive compare its checksum.
    """
    values = np.empty(count, dtype)
    buffer = values.view(np.uint8).data
    found = 0
    while found < len(buffer) and (block := file.read(min(_READ_BYTES, len(buffer) - found))):
        buffer[found : found + len(block)] = block
        found += len(block)
    return values, found + len(file.read(1))


def blocks(array: np.ndarray) -> Iterator[slice]:
    """Slices of rows that cover the array, each of about a million values."""
    step = max(1, _BLOCK_VALUES // max(1, array[:1].size))
    return (slice(start, start + step) for start in range(0, len(array), step))


def check_finite(inputs: np.ndarray, names: Sequence[str] | None = None) -> None:
    """Refuse NaN, infinities and numbers beyond 1e38, naming the first row and column.

    Args:
        names: what the columns are called; without them a column is its number, from 1.

    Raises:
        DatasetInvalid: with `row` (from 1) and `column`.
    """
    for rows in blocks(inputs):
        block = inputs[rows].reshape(len(inputs[rows]), -1)
        fits = np.abs(block) <= LARGEST  # False for NaN too
        if not fits.all():
            row, column = (int(index) for index in np.argwhere(~fits)[0])
            value = block[row, column]
            what = "beyond 1e38" if np.isfinite(value) else "not finite"
            raise bad_cell(rows.start + row, column, names, f"the number is {what}")


def bad_cell(row: int, column: int, names: Sequence[str] | None, why: str) -> DatasetInvalid:
    """The refusal of one cell; row and column count from 0 here and from 1 in the message."""
    name = column + 1 if names is None else shown(names[column])
    title = name if names is None else f"'{name}'"
    return DatasetInvalid(f"row {row + 1}, column {title}: {why}", row=row + 1, column=name)


def narrowed(numbers: np.ndarray) -> np.ndarray:
    """The same finite numbers as float32 where that holds every one exactly, else as float64.

    Integers beyond 2**53 are rounded to float64.
    """
    if numbers.dtype == np.float32:
        return numbers
    single = np.empty(numbers.shape, np.float32)
    for rows in blocks(numbers):
        double = numbers[rows].astype(np.float64)
        single[rows] = double
        if not np.array_equal(single[rows], double):
            return numbers.astype(np.float64, copy=False)
    return single


def count_indices(numbers: np.ndarray) -> int:
    """One more than the largest, where every number is a whole one from 0; else 0.

    So it is 0, too, where one is 2**31 or more.
    """
    largest = -1.0
    for rows in blocks(numbers):
        block = numbers[rows]
        if not np.all((block >= 0) & (block < _NO_INDEX)) or np.any(block % 1):
            return 0
        largest = max(largest, float(block.max()))
    return int(largest) + 1


def as_inputs(raw: np.ndarray) -> tuple[np.ndarray, bool]:
    """The rows of an array file, and whether they are pixels.

    uint8 of (n, channels, height, width) or (n, height, width) is pixels and stays uint8; every
    other real type becomes float32 where that is exact, else float64.

    Raises:
        DatasetInvalid: no rows, an empty axis, too many axes, or channels that come last.
    """
    if raw.size == 0 or not 1 <= raw.ndim <= 4:
        raise DatasetInvalid(
            f"inputs of shape {raw.shape}; 1 to 4 axes are read, none of them empty",
            shape=list(raw.shape),
            least=1,
            limit=4,
        )
    if raw.dtype == np.uint8 and raw.ndim >= 3:
        pixels = raw[:, None] if raw.ndim == 3 else raw
        if pixels.shape[1] > 4:
            raise DatasetInvalid(
                f"images of shape {raw.shape[1:]}; they are (channels, height, width), "
                "with at most 4 channels",
                shape=list(raw.shape[1:]),
                limit=4,
            )
        return pixels, True
    check_finite(raw)
    return narrowed(raw[:, None] if raw.ndim == 1 else raw), False
