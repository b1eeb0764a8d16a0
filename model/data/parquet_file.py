"""Parquet files: the footer says how large the table is, and is checked before rows are read."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from model.data.dataset import Dataset
from model.data.inputs import check_size, check_unpacked, shown
from model.data.options import Limits, ReadOptions
from model.data.table import (
    check_columns,
    check_names,
    find_target,
    from_columns,
    is_number,
    is_text,
)
from model.errors import DatasetInvalid, DatasetTooLarge

_FOOTER_BYTES = 64 * 2**20
_FOOTER_ITEMS = 1_000_000


def read(path: Path, options: ReadOptions) -> Dataset:
    """Read a Parquet file: numeric features, and a target whose type decides the task.

    Integers, booleans and text make classes, floats and decimals a regression.

    Raises:
        DatasetInvalid: names the column of a wrong type, or the row and column of a bad cell.
        DatasetTooLarge: the footer declares more than the limits.
    """
    _check_footer(path)
    try:
        names, target, table = _read_table(path, options)
        return from_columns(table.columns, names, target, options.limits)
    except DatasetInvalid:
        raise
    except Exception as error:  # pyarrow fails in any way on hostile bytes; the file is at fault
        raise DatasetInvalid("not a whole Parquet file, or a damaged one") from error


def _read_table(path: Path, options: ReadOptions) -> tuple[list[str], int, pa.Table]:
    with _open(path) as file:
        check_columns(file.metadata.num_columns, options.limits)
        names = check_names(file.schema_arrow.names)
        target = find_target(names, options.target)
        _check_schema(file.schema_arrow, target)
        _check_declared(file.metadata, options.limits)
    # One long text repeated in every row is short in the file; as a dictionary it stays short.
    texts = [names[target]] if is_text(_value_type(file.schema_arrow.field(target).type)) else []
    with _open(path, texts) as file:
        return names, target, file.read(use_threads=False)


def _open(path: Path, dictionaries: list[str] | None = None) -> pa.parquet.ParquetFile:
    return pa.parquet.ParquetFile(
        path,
        read_dictionary=dictionaries,
        thrift_string_size_limit=_FOOTER_BYTES,
        thrift_container_size_limit=_FOOTER_ITEMS,
        page_checksum_verification=True,
    )


def _check_footer(path: Path) -> None:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        end = file.read()
    length = int.from_bytes(end[:4], "little")
    if size < 12 or end[4:] != b"PAR1" or length > size - 12:
        raise DatasetInvalid("not a Parquet file: it does not end in a footer")
    if length > _FOOTER_BYTES:
        raise DatasetTooLarge(
            f"a footer of {length} bytes, at most {_FOOTER_BYTES} are read",
            size=length,
            limit=_FOOTER_BYTES,
            unit="bytes of footer",
        )


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _check_schema(schema: pa.Schema, target: int) -> None:
    for index, column in enumerate(schema):
        kind = _value_type(column.type)
        if not is_number(kind) and not (index == target and is_text(kind)):
            wanted = "numbers or text" if index == target else "numbers"
            raise DatasetInvalid(
                f"column '{shown(column.name)}' holds {shown(str(kind))}, not {wanted}",
                column=shown(column.name),
                holds=shown(str(kind)),
            )


def _check_declared(footer: pa.parquet.FileMetaData, limits: Limits) -> None:
    check_size(footer.num_rows, footer.num_columns, 8, limits)
    groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
    if sum(group.num_rows for group in groups) != footer.num_rows:
        raise DatasetInvalid("the footer's row groups do not add up to its rows")
    unpacked = sum(group.total_byte_size for group in groups)
    check_unpacked(unpacked, limits)
