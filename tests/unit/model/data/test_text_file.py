"""Word lists: every character with those before it, and the line at fault of a bad file."""

import random
from pathlib import Path

import numpy as np
import pytest

from model.data.dataset import Dataset
from model.data.options import Limits, ReadOptions
from model.data.text_file import read
from model.errors import DatasetInvalid, DatasetTooLarge


@pytest.fixture
def text(tmp_path: Path):
    def reads(content: str | bytes, context: int = 3, **limits: int) -> Dataset:
        path = tmp_path / "words.txt"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read(path, ReadOptions(context=context, limits=Limits(**limits)))

    return reads


def test_a_word_gives_a_row_for_each_character_and_its_end(text):
    dataset = text("abca\n")
    assert dataset.facts.classes == (".", "a", "b", "c")
    assert dataset.inputs.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 1]]
    assert dataset.targets.tolist() == [1, 2, 3, 1, 0]
    assert (dataset.inputs.dtype, dataset.targets.dtype) == (np.float32, np.int64)
    assert dataset.facts.input_shape == (3,)


def spelled(dataset: Dataset) -> list[str]:
    """The words of a dataset, put together again from its targets."""
    names = dataset.facts.classes or ()
    return "".join(names[target] for target in dataset.targets).split(".")[:-1]


def by_hand(words: list[str], context: int) -> tuple[list[list[int]], list[int]]:
    letters = [".", *sorted(set("".join(words)))]
    inputs, targets = [], []
    for word in words:
        seen = [0] * context
        for character in word + ".":
            inputs.append(seen)
            targets.append(letters.index(character))
            seen = [*seen, targets[-1]][1:]
    return inputs, targets


WORDS = ["emma", "olivia", "ava", "isabella", "sophia", "Zoé", "mia", "x"]


@pytest.mark.parametrize("context", [1, 2, 3, 8, 64])
def test_words_are_shuffled_as_python_does_and_their_rows_stay_together(text, context):
    dataset = text("\n".join(WORDS), context)
    order = list(WORDS)
    random.Random(42).shuffle(order)
    assert order != WORDS
    assert spelled(dataset) == order
    inputs, targets = by_hand(order, context)
    assert dataset.inputs.tolist() == inputs
    assert dataset.targets.tolist() == targets


def test_characters_are_as_they_are_in_the_order_of_code_points(text):
    assert text("aBé\nZ-9\n").facts.classes == (".", "-", "9", "B", "Z", "a", "é")


def test_the_rows_are_indices_of_the_classes(text):
    facts = text("abc\nad\n").facts
    assert (facts.indices, facts.outputs, facts.task) == (5, 5, "classification")


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbfab\nb\n", b"ab\r\nb\r\n", b"ab\nb", b"\nab\n\n\nb\n"]
)
def test_bom_line_ends_and_empty_lines_do_not_matter(text, content):
    assert text(content).facts == text("ab\nb\n").facts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file has no word"),
        (b"\n\r\n\n", "the file has no word"),
        (b"ab\ncd\xff\n", "line 2: not UTF-8"),
        (b"ab\n\ncd\0\n", "line 3: a NUL byte"),
        (b"ab\nc\td\n", "line 2: control, format and surrogate characters are not allowed"),
        (b"ab\rcd\n", "line 1: control, format"),
        ("ab\nc\u200bd\n".encode(), "line 2: control, format"),
        ("ab\nc\u2028d\n".encode(), "line 2: control, format"),
        (b"ab\ncd \n", "line 2: a space; each line is one word"),
        ("ab\nc\u00a0d\n".encode(), "line 2: a space"),
        (b"ab\ncd\ne.f\n", r"line 3: '\.' marks where a word begins and ends"),
    ],
)
def test_a_bad_file_is_refused_by_its_line(text, content, message):
    with pytest.raises(DatasetInvalid, match=message):
        text(content)


def test_a_word_may_be_so_long_and_no_longer(text):
    assert len(text("ab" * 500).targets) == 1_001
    with pytest.raises(DatasetTooLarge, match="near line 2: a line is longer than 1000 bytes"):
        text("a\n" + "b" * 1_001)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_rows": 8}, "9 rows, at most 8 are accepted"),
        ({"max_rows": 2}, "a text of 12 bytes; at most 10 are read"),
        ({"max_values": 26}, "27 numbers, at most 26"),
        ({"max_bytes": 107}, "108 bytes, at most 107"),
        ({"max_classes": 3}, "4 different characters with the boundary, at most 3"),
    ],
)
def test_sizes_over_the_limits_are_refused(text, limits, message):
    with pytest.raises(DatasetTooLarge, match=message):
        text("abc\nab\n\na\n\n\n", **limits)


@pytest.mark.parametrize("context", [0, 65])
def test_a_context_beyond_its_bounds_is_refused(text, context):
    with pytest.raises(DatasetInvalid, match=f"a context has 1 to 64 characters, not {context}"):
        text("ab\n", context)
