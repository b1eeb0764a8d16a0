"""CSV files: UTF-8, comma, one header line with the columns' names.

The bytes are checked before pyarrow sees them (encoding, NUL, length of lines, size).
"""

import csv
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from model.data.csv_quotes import check_quotes
from model.data.dataset import Dataset
from model.data.inputs import bad_cell, check_size
from model.data.lines import check_lines
from model.data.options import Limits, ReadOptions
from model.data.table import check_columns, check_names, find_target, from_columns, parsed_targets
from model.errors import DatasetInvalid

_CONVERSION = re.compile(r"In CSV column #(\d+): Row #(\d+)")


def read(path: Path, options: ReadOptions) -> Dataset:
    """Read a CSV file: numeric features, and a target that decides the task.

    A target column of integers or text makes classes, one with decimals a regression. Rows are
    counted from 1 below the header; empty lines do not count, nor do spaces around a cell.

    Raises:
        DatasetInvalid: names the line, or the row and column, at fault.
        DatasetTooLarge: longer lines, more rows or columns than the limits.
    """
    limits = options.limits
    lines = check_lines(path, limits.max_line_bytes)
    names = _header(path, limits)
    target = find_target(names, options.target)
    check_size(lines - 1, len(names) - 1, 8, limits)
    check_quotes(path, limits)
    table = _parse(path, names, target, limits)
    columns = [table.column(index) for index in range(len(names))]
    columns[target] = parsed_targets(columns[target], names[target])
    return from_columns(columns, names, target, limits)


def _header(path: Path, limits: Limits) -> list[str]:
    with path.open("rb") as file:
        start = file.read(limits.max_line_bytes)
    line = re.split(rb"[\r\n]", start, maxsplit=1)[0].decode("utf-8-sig", errors="replace")
    check_columns(line.count(",") + 1, limits)
    try:
        names = next(csv.reader([line], strict=True), [])
    except csv.Error as error:
        raise DatasetInvalid("line 1: the header is no line of CSV", line=1) from error
    return check_names([name.strip() for name in names])


def _parse(path: Path, names: list[str], target: int, limits: Limits) -> pa.Table:
    ragged: list[pa.csv.InvalidRow] = []

    def stop_at(row: pa.csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    # Columns go by position: names may be anything. One thread, since only then rows are counted.
    places = [str(index) for index in range(len(names))]
    types = {place: pa.float64() for place in places} | {places[target]: pa.string()}
    try:
        return pa.csv.read_csv(
            path,
            read_options=pa.csv.ReadOptions(
                use_threads=False,
                skip_rows=1,
                column_names=places,
                block_size=2 * limits.max_line_bytes,
            ),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=stop_at),
            convert_options=pa.csv.ConvertOptions(
                column_types=types, null_values=[], strings_can_be_null=False
            ),
        )
    except pa.ArrowException as error:
        raise _refusal(error, ragged, names) from error


def _refusal(
    error: pa.ArrowException, ragged: list[pa.csv.InvalidRow], names: list[str]
) -> DatasetInvalid:
    if ragged:
        row = ragged[0].number - 1
        cells = ragged[0].actual_columns
        return DatasetInvalid(
            f"row {row}: {cells} cells, the header has {len(names)} columns",
            row=row,
            cells=cells,
            columns=len(names),
        )
    if place := _CONVERSION.search(str(error)):
        column, row = int(place[1]), int(place[2]) - 2
        found = "empty" if str(error).endswith("value ''") else "text"
        return bad_cell(row, column, names, f"a number is expected; this cell is {found}")
    return DatasetInvalid("no rows of CSV below the header")
