"""Text files of one word a line: for every character of a word, the characters before it.

    emma, context 3:   ... -> e   ..e -> m   .em -> m   emm -> a   mma -> .

The character "." stands for the boundary: before a word's first character, and after its last.
"""

import random
from pathlib import Path

import numpy as np

from model.data.assemble import assemble
from model.data.dataset import Dataset
from model.data.inputs import check_size
from model.data.lines import check_lines
from model.data.options import Limits, ReadOptions
from model.data.targets import Targets
from model.errors import DatasetInvalid, DatasetTooLarge
from model.spec import plain_text

BOUNDARY = "."
MOST_CONTEXT = 64
SEED = 42  # of the order of words
_BYTES_PER_ROW = 5  # at most: a character of 4 bytes, and what a line end may have besides


def read(path: Path, options: ReadOptions) -> Dataset:
    """Read a word list, UTF-8, as a next-character set.

    A row is the `options.context` characters before a character, as indices; the target is that
    character. Classes are the boundary, index 0, and every character of the file in the order of
    code points, as they are: case counts. A word of n characters gives n + 1 rows, which stand
    together; words stand in the order that `random.Random(42).shuffle` gives them. Empty lines
    do not count.

    Raises:
        DatasetInvalid: names the line of a control or format character, a space, a boundary, or
            bytes that are not UTF-8; or there is no word.
        DatasetTooLarge: a longer line, more rows or more characters than the limits.

    Bengio et al. 2003, A Neural Probabilistic Language Model, section 2, of characters:
    https://www.jmlr.org/papers/v3/bengio03a.html
    """
    limits, context = options.limits, options.context
    if not 1 <= context <= MOST_CONTEXT:
        message = f"a context has 1 to {MOST_CONTEXT} characters, not {context}"
        raise DatasetInvalid(message, context=context, least=1, limit=MOST_CONTEXT)
    _check_bytes(path, limits)
    check_lines(path, limits.max_word_bytes)
    text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    letters = sorted(set(text) - {"\n"})
    _check_letters(letters, text)
    words = text.split()  # at line ends alone: every other white space has been refused
    if not words:
        raise DatasetInvalid("the file has no word", words=0)
    _check_count(len(letters) + 1, limits)
    check_size(sum(map(len, words)) + len(words), context, 4, limits)
    random.Random(SEED).shuffle(words)
    symbols = _symbols(words, letters)
    targets = Targets(symbols, (BOUNDARY, *letters))
    return assemble(_contexts(symbols, context), targets, limits)


def _check_bytes(path: Path, limits: Limits) -> None:
    size, most = path.stat().st_size, _BYTES_PER_ROW * limits.max_rows
    if size > most:
        message = f"a text of {size} bytes; at most {most} are read"
        raise DatasetTooLarge(message, size=size, limit=most, unit="bytes")


def _check_count(classes: int, limits: Limits) -> None:
    if classes > limits.max_classes:
        raise DatasetTooLarge(
            f"{classes} different characters with the boundary, at most {limits.max_classes} "
            "are accepted",
            size=classes,
            limit=limits.max_classes,
            unit="classes",
        )


def _check_letters(letters: list[str], text: str) -> None:
    for letter in letters:
        why = _fault(letter)
        if why is not None:
            line = text.count("\n", 0, text.index(letter)) + 1
            raise DatasetInvalid(f"line {line}: {why}", line=line)


def _fault(letter: str) -> str | None:
    if letter == BOUNDARY:
        return f"'{BOUNDARY}' marks where a word begins and ends, and may not be in one"
    try:
        plain_text(letter)
    except ValueError as error:
        return str(error)
    return "a space; each line is one word" if letter.isspace() else None


def _symbols(words: list[str], letters: list[str]) -> np.ndarray:
    """Every word as its indices and a 0, one behind the other, int64."""
    text = BOUNDARY.join(words) + BOUNDARY
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    indices = np.searchsorted(np.array([ord(one) for one in letters]), codes) + 1
    return np.where(codes == ord(BOUNDARY), 0, indices)


def _contexts(symbols: np.ndarray, context: int) -> np.ndarray:
    """The symbols before each one, the oldest first, 0 where its word had not begun.

    Shape:
        symbols: (rows,).
        returns: (rows, context) float32.
    """
    places = np.arange(len(symbols))
    starts = np.concatenate([[0], np.flatnonzero(symbols == 0)[:-1] + 1])
    lengths = np.diff(np.append(starts, len(symbols)))
    inside = places - np.repeat(starts, lengths)  # characters of the word before this one
    rows = np.zeros((len(symbols), context), np.float32)
    for back in range(1, context + 1):
        known = inside >= back
        rows[known, context - back] = symbols[places[known] - back]
    return rows
