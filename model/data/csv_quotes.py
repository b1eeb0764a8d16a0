"""Finds a quote that a CSV file opens and never closes, before all that follows becomes one cell.

Knows nothing of columns or numbers: pyarrow reads those, and takes the end of the file for the
end of a cell.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from model.data.options import Limits
from model.errors import DatasetInvalid

_BLOCK_BYTES = 2**20


class _Lines:
    """The lines below the header and one more at the end, which is a row unless a quote is open."""

    def __init__(self, file: TextIO, longest: int) -> None:
        self._file = file
        self._longest = longest
        self._characters = 0  # of the row in hand
        #: Number of the last line given out, and of the one where the row in hand starts.
        self.line = 1
        self.start = 2

    def __iter__(self) -> Iterator[str]:
        for text in self._file:
            self.line += 1
            self._characters += len(text)
            if self._characters > self._longest and self.line > self.start:
                raise csv.Error("the row is longer than the longest line")
            yield text
        self.line += 1
        yield "end"

    def end_row(self) -> None:
        self.start = self.line + 1
        self._characters = 0


def check_quotes(path: Path, limits: Limits) -> None:
    """Refuse a quote that is never closed, or only beyond what a cell or a row may hold.

    A quote opens at the start of a cell alone; two of them within it are one that it holds.

    Args:
        path: text in UTF-8 whose lines are within the limits.

    Raises:
        DatasetInvalid: names the line on which the row with the quote starts.
    """
    if not _has_quote(path):
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        file.readline()  # the header's
        start, last = _last_row(_Lines(file, limits.max_line_bytes))
    if start < last:
        raise DatasetInvalid(
            f"line {start}: a quote opens in this row and is not closed", line=start
        )


def _last_row(lines: _Lines) -> tuple[int, int]:
    """First and last line of the last row, or of one too long to go on with."""
    start = lines.start
    try:
        for _ in csv.reader(lines):
            start = lines.start
            lines.end_row()
    except csv.Error:  # a long cell of one line is left to be refused for what it holds
        start = lines.start
    return start, lines.line


def _has_quote(path: Path) -> bool:
    with path.open("rb") as file:
        return any(b'"' in block for block in iter(lambda: file.read(_BLOCK_BYTES), b""))
