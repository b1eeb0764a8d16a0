"""The bytes of a text file, looked at before anybody parses them.

A hostile file costs one pass of a few megabytes of memory at most.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from model.errors import DatasetInvalid, DatasetTooLarge

_BLOCK_BYTES = 2**18  # were each byte a line end, their places would take 32 times as much


def check_lines(path: Path, most_bytes: int) -> int:
    """Refuse what is no UTF-8 text of short lines.

    Args:
        most_bytes: of one line.

    Returns:
        The number of lines; one that is not ended counts.

    Raises:
        DatasetInvalid: a NUL byte, or bytes that are not UTF-8; names the line.
        DatasetTooLarge: a longer line.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, open_bytes = 1, 0
    for block in _blocks(path):
        _check_text(block, decoder, lines)
        codes = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero((codes == 10) | (codes == 13))
        marks = np.concatenate([[-1 - open_bytes], ends, [len(block)]])
        longer = np.flatnonzero(np.diff(marks) > most_bytes + 1)
        if len(longer):
            line = lines + block.count(b"\n", 0, max(0, int(marks[longer[0]]) + 1))
            raise DatasetTooLarge(
                f"near line {line}: a line is longer than {most_bytes} bytes",
                line=line,
                limit=most_bytes,
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
        raise DatasetInvalid(f"line {line}: a NUL byte; text in UTF-8 has none", line=line)
    try:
        decoder.decode(block)
    except UnicodeDecodeError as error:
        line += block.count(b"\n", 0, max(0, error.start))
        raise DatasetInvalid(f"line {line}: not UTF-8", line=line) from error
