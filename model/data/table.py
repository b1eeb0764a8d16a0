"""Columns of a table to a dataset: what CSV and Parquet have in common."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.data.assemble import assemble
from model.data.dataset import Dataset
from model.data.inputs import bad_cell, check_finite, check_size, narrowed, shown
from model.data.options import Limits
from model.data.targets import (
    Targets,
    check_class_count,
    integer_classes,
    number_targets,
    text_classes,
)
from model.errors import DatasetInvalid, DatasetTooLarge


def check_columns(count: int, limits: Limits) -> None:
    """Refuse more columns than the limit.

    Raises:
        DatasetTooLarge: with both numbers.
    """
    if count > limits.max_table_columns:
        raise DatasetTooLarge(
            f"{count} columns, at most {limits.max_table_columns} are accepted",
            size=count,
            limit=limits.max_table_columns,
            unit="columns",
        )


def check_names(names: Sequence[str]) -> list[str]:
    """The columns' names, all there and all different, at least two.

    Raises:
        DatasetInvalid: a column without a name, or two of one name.
    """
    first: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if not name:
            raise DatasetInvalid(f"column {number} has no name", column=number)
        if first.setdefault(name, number) != number:
            raise DatasetInvalid(
                f"columns {first[name]} and {number} are both called '{shown(name)}'",
                column=number,
                first=first[name],
                name=shown(name),
            )
    if len(names) < 2:
        raise DatasetInvalid(
            f"a feature and a target column are needed, separated by a comma; found {len(names)}",
            columns=len(names),
        )
    return list(names)


def find_target(names: list[str], target: str | None) -> int:
    """Position of the target column.

    Raises:
        DatasetInvalid: no target is given, or no column has its name.
    """
    if target is not None and target in names:
        return names.index(target)
    first = ", ".join(f"'{shown(name)}'" for name in names[:10])
    more = ", ..." if len(names) > 10 else ""
    wanted = None if target is None else shown(target)
    why = "no target column is given" if target is None else f"no column '{wanted}'"
    known = [shown(name) for name in names[:20]]
    raise DatasetInvalid(f"{why}; the columns are {first}{more}", column=wanted, columns=known)


def from_columns(
    columns: list[pa.ChunkedArray], names: list[str], target: int, limits: Limits
) -> Dataset:
    """A dataset of every column but the target as a feature, in the file's order.

    Raises:
        DatasetInvalid: names the row and column of an empty or not finite cell, or the column
            whose type is no number.
        DatasetTooLarge: over the limits.
    """
    targets = _targets(columns[target], names[target], limits)
    features = [index for index in range(len(columns)) if index != target]
    rows = len(columns[target])
    check_size(rows, len(features), 8, limits)
    inputs = np.empty((rows, len(features)))
    for place, index in enumerate(features):
        inputs[:, place] = _numbers(columns[index], names[index])
    check_finite(inputs, [names[index] for index in features])
    return assemble(narrowed(inputs), targets, limits)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type holds real numbers or booleans."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _numbers(column: pa.ChunkedArray, name: str) -> np.ndarray:
    _check_whole(column, name)
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy())


def _check_whole(column: pa.ChunkedArray, name: str) -> None:
    if column.null_count:
        row = pc.index(column.is_null(), True).as_py()
        raise bad_cell(row, 0, [name], "the cell is empty")


def _targets(column: pa.ChunkedArray, name: str, limits: Limits) -> Targets:
    _check_whole(column, name)
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return number_targets(column.cast(pa.float64()).to_numpy(), [name])
    if is_number(kind):
        return integer_classes(column.to_numpy(), limits)
    encoded = column if pa.types.is_dictionary(kind) else column.dictionary_encode()
    whole = encoded.unify_dictionaries().combine_chunks()
    return _text_targets(whole, limits)


def _text_targets(encoded: pa.DictionaryArray, limits: Limits) -> Targets:
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    used, indices = np.unique(indices, return_inverse=True)
    check_class_count(len(used), limits)
    names = encoded.dictionary.take(pa.array(used)).to_pylist()
    return text_classes(names, indices)


def parsed_targets(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """The targets of a text file as integers, else as decimals, else as the text they are.

    Raises:
        DatasetInvalid: names the row of an empty cell.
    """
    trimmed = pc.utf8_trim_whitespace(column)
    empty = pc.index(pc.equal(trimmed, ""), True).as_py()
    if empty >= 0:
        raise bad_cell(empty, 0, [name], "the cell is empty")
    for kind in (pa.int64(), pa.float64()):
        try:
            return trimmed.cast(kind)
        except pa.ArrowInvalid:
            continue
    return trimmed
