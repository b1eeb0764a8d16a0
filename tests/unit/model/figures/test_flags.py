from math import inf

import numpy as np
import pytest

from model.figures.flags import MOST_ROWS, Flag, Mark, flags_of, lettered, room_of, shown_marks
from model.figures.scales import Scale

X = Scale(0.0, 10.0)
WIDTH = 4.0


def crossings(flags: tuple[Flag, ...]) -> list[tuple[str, str]]:
    """Words that meet, and lines that go through a word of a lower row or of their own."""
    return [
        (one.text, other.text)
        for one in flags
        for other in flags
        if one is not other
        and (
            (one.row == other.row and one.left < other.right and other.left < one.right)
            or (one.row >= other.row and other.left < one.at < other.right)
        )
    ]


def test_a_word_starts_at_its_line_or_ends_there() -> None:
    first, last = flags_of([(1.0, 0.0, "first"), (10.0, 0.0, "last")], X, WIDTH)

    assert 0.4 < first.left < 0.5
    assert first.at == pytest.approx(0.4)
    assert 3.9 < last.right < 4.0
    assert (first.row, last.row) == (0, 0)


@pytest.mark.parametrize("seed", range(30))
def test_no_line_crosses_a_word(seed: int) -> None:
    generator = np.random.default_rng(seed)
    places = generator.uniform(0, 10, int(generator.integers(1, 5)))
    marks: list[Mark] = [(float(x), 0.0, "w" * int(generator.integers(1, 16))) for x in places]

    flags = flags_of(marks, X, WIDTH)

    assert crossings(flags) == []
    assert len(flags) == len(marks)
    assert all(flag.row < MOST_ROWS for flag in flags)
    assert all(flag.left >= 0 and flag.right <= WIDTH for flag in flags)


def test_letters_stand_for_words_that_have_no_room() -> None:
    marks: list[Mark] = [(2.0, 0.0, "a word that is much too long " * 2), (5.0, 0.0, "b")]

    flags = flags_of(marks, X, WIDTH)

    assert sorted(flag.text for flag in flags) == ["A", "B"]
    assert lettered(flags, marks) == (("A", marks[0][2]), ("B", "b"))
    short: list[Mark] = [(5.0, 0.0, "b")]
    assert lettered(flags_of(short, X, WIDTH), short) == ()


def test_many_marks_in_one_place_each_have_a_row() -> None:
    marks: list[Mark] = [(5.0, 0.0, f"mark {k}") for k in range(9)]

    flags = flags_of(marks, X, WIDTH)

    assert sorted(flag.row for flag in flags) == list(range(9))
    assert room_of(flags) > room_of(flags[:1]) > room_of(()) == 0


def test_marks_that_the_axes_do_not_show_have_no_flag() -> None:
    marks: list[Mark] = [(1.0, 1.0, "in"), (11.0, 1.0, "out"), (1.0, inf, "out")]

    assert shown_marks(marks, X, Scale(0.0, 2.0)) == ((1.0, 1.0, "in"),)
