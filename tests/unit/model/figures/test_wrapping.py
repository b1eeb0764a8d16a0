import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from model.figures.wrapping import has_room_for, shorten, shown, width_of, wrap

SENTENCE = "Batch norm reaches 85 % of the test rows in at most a third of the optimizer steps."


def outline(text: str, points: float) -> float:
    """Inches that the outlines of the letters take."""
    font = FontProperties(family="DejaVu Sans")
    return float(TextPath((0, 0), text, size=points, prop=font).get_extents().width) / 72


@pytest.mark.parametrize("points", [8.0, 12.0])
def test_a_width_is_that_of_the_letters(points: float) -> None:
    assert width_of(SENTENCE, points) == pytest.approx(outline(SENTENCE, points), rel=0.04)
    assert width_of(SENTENCE, points) > outline(SENTENCE, points)
    assert width_of(SENTENCE, points, is_bold=True) > 1.1 * width_of(SENTENCE, points)


@pytest.mark.parametrize("width", [0.3, 1.0, 2.5, 20.0])
def test_lines_keep_all_words_and_their_width(width: float) -> None:
    lines = wrap(SENTENCE, width)

    assert "".join(lines).replace(" ", "") == SENTENCE.replace(" ", "")
    assert all(width_of(line) <= width for line in lines)
    assert (len(lines) == 1) == (width_of(SENTENCE) <= width)


def test_words_are_broken_only_where_they_must_be() -> None:
    assert wrap("a bb " + "c" * 40, 1.0)[0] == "a bb"
    assert len(wrap("c" * 40, 1.0)) > 2
    assert wrap("", 1.0) == ()
    assert has_room_for("a bb", 1.0)
    assert not has_room_for("a " + "c" * 40, 1.0)


def test_a_letter_wider_than_its_line_stands_alone() -> None:
    assert wrap("abc", 0.01) == ("a", "b", "c")


def test_a_name_that_is_too_long_keeps_its_end() -> None:
    name = "1.branch.conv2.weight"

    kept = shorten(name, 1.0)

    assert kept.startswith("…")
    assert name.endswith(kept[1:])
    assert width_of(kept) <= 1.0 < width_of("…" + name[-len(kept) :])
    assert shorten(name, 5.0) == name
    assert shorten(name, 0.01) == "…"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("β ≤ 0.5 ‖∇L‖ ± é", "β ≤ 0.5 ‖∇L‖ ± é"),
        ("$x_1$ <b> &", "$x_1$ <b> &"),
        ("a\nb\t c", "a b c"),
        ("a\x00b\ud800", "a\ufffdb\ufffd"),
        ("漢", "\ufffd"),
        ("\u05d0\u202e", "\ufffd\ufffd"),
    ],
)
def test_only_what_the_font_has_is_shown(text: str, expected: str) -> None:
    assert shown(text) == expected
