"""CSV files: UTF-8, comma, one header line with the columns' names.

The bytes are checked before pyarrow sees them (encoding, NUL, length of lines, size), so that a
hostile file costs one pass of a few megabytes of memory at most.
"""

import codecs
import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from model.data.csv_quotes import check_quotes
from model.data.dataset import Dataset
from model.data.inputs import bad_cell, check_size
from model.data.options import Limits, ReadOptions
from model.data.table import check_columns, check_names, find_target, from_columns, parsed_targets
from model.errors import DatasetInvalid, DatasetTooLarge

_BLOCK_BYTES = 2**20
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
    lines = _check_bytes(path, limits)
    names = _header(path, limits)
    target = find_target(names, options.target)
    check_size(lines - 1, len(names) - 1, 8, limits)
    check_quotes(path, limits)
    table = _parse(path, names, target, limits)
    columns = [table.column(index) for index in range(len(names))]
    columns[target] = parsed_targets(columns[target], names[target])
    return from_columns(columns, names, target, limits)


def _check_bytes(path: Path, limits: Limits) -> int:
    """Refuse what is no text of short lines; returns the number of lines."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, open_bytes = 1, 0
    for block in _blocks(path):
        _check_text(block, decoder, lines)
        codes = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero((codes == 10) | (codes == 13))
        marks = np.concatenate([[-1 - open_bytes], ends, [len(block)]])
        longest = int(np.diff(marks).max()) - 1
        if longest > limits.max_line_bytes:
            raise DatasetTooLarge(
                f"near line {lines}: a line is longer than {limits.max_line_bytes} bytes",
                line=lines,
                limit=limits.max_line_bytes,
                unit="bytes a line",
            )
        open_bytes = int(marks[-1] - marks[-2]) - 1
        lines += block.count(b"\n")
    if decoder.getstate()[0]:
        raise DatasetInvalid(f"line {lines}: not UTF-8", line=lines)
    return lines - (open_bytes == 0)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _check_text(block: bytes, decoder: codecs.IncrementalDecoder, line: int) -> None:
    if (position := block.find(b"\0")) >= 0:
        line += block.count(b"\n", 0, position)
        raise DatasetInvalid(f"line {line}: a NUL byte; CSV is text in UTF-8", line=line)
    try:
        decoder.decode(block)
    except UnicodeDecodeError as error:
        line += block.count(b"\n", 0, max(0, error.start))
        raise DatasetInvalid(f"line {line}: not UTF-8", line=line) from error


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
