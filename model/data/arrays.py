"""From raw arrays to a dataset: everything that is checked whatever file the rows came from.

Knows no file format; a reader hands over inputs and targets and says what a column is called.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from model.data.dataset import Dataset, describe
from model.data.options import Limits
from model.errors import DatasetInvalid, DatasetTooLarge
from model.spec import plain_text

#: Beyond this, differences of two values leave float32.
LARGEST = 1e38
_BLOCK_VALUES = 2**20
_NAME_CHARACTERS = 200


@dataclass(frozen=True)
class Targets:
    """Checked targets: class indices with the classes' names, or numbers without.

    Shape:
        values: (rows,) int64 with classes, (rows, outputs) float64 without.
    """

    values: np.ndarray
    classes: tuple[str, ...] | None


def quoted(name: str) -> str:
    """A name from a file, safe and short enough for a message."""
    short = name if len(name) <= 60 else name[:57] + "..."
    return "'" + short.encode("unicode_escape").decode("ascii") + "'"


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


def bad_cell(
    row: int, column: int, names: Sequence[str] | None, why: str, of: str = "row"
) -> DatasetInvalid:
    """The refusal of one cell; row and column count from 0 here and from 1 in the message."""
    name = column + 1 if names is None else names[column]
    shown = quoted(name) if isinstance(name, str) else str(name)
    return DatasetInvalid(f"{of} {row + 1}, column {shown}: {why}", row=row + 1, column=name)


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


def integer_classes(values: np.ndarray) -> Targets:
    """Integers (or booleans) as classes, in numerical order, named by their digits."""
    names, indices = np.unique(values, return_inverse=True)
    return Targets(indices.astype(np.int64), tuple(str(name) for name in names.tolist()))


def text_classes(names: Sequence[str], indices: np.ndarray) -> Targets:
    """Texts as classes, in the order of their code points.

    Args:
        names: the different texts, in any order.
        indices: (rows,) which of them each row has.
    """
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return Targets(place[indices], tuple(names[index] for index in order))


def number_targets(values: np.ndarray, names: Sequence[str] | None = None) -> Targets:
    """Finite numbers of a regression, (rows,) or (rows, outputs)."""
    columns = values.reshape(len(values), -1).astype(np.float64)
    check_finite(columns, names or [f"target {index + 1}" for index in range(columns.shape[1])])
    return Targets(columns, None)


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
        raise DatasetInvalid(f"{len(inputs)} rows; a dataset needs at least 2", rows=len(inputs))
    if targets.classes is not None:
        _check_classes(targets.classes, limits)
    return describe(inputs, targets.values, targets.classes, images=images, train_rows=train_rows)


def _check_classes(classes: tuple[str, ...], limits: Limits) -> None:
    if len(classes) < 2:
        raise DatasetInvalid("all targets are one class; two are needed", classes=len(classes))
    if len(classes) > limits.max_classes:
        raise DatasetTooLarge(
            f"{len(classes)} classes, at most {limits.max_classes} are accepted; "
            "targets that are quantities are written as decimals (3.0)",
            size=len(classes),
            limit=limits.max_classes,
            unit="classes",
        )
    for name in classes:
        check_class_name(name)


def check_class_name(name: str) -> None:
    """Refuse a class name that is empty, over 200 characters or not plain text.

    Raises:
        DatasetInvalid: shows the name, escaped and shortened.
    """
    if not name.strip() or len(name) > _NAME_CHARACTERS:
        raise DatasetInvalid(f"class {quoted(name)}: a name has 1 to 200 visible characters")
    try:
        plain_text(name)
    except ValueError as error:
        raise DatasetInvalid(f"class {quoted(name)}: {error}") from error
