import pytest

from model.figures.text import counted, legible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("3.branch.1", "3.branch.1"),
        ("<a & 'b'>$x$", "<a & 'b'>$x$"),
        ("a\x00b\nc\ud800d", "a\ufffdb\ufffdc\ufffdd"),
        ("norm 漢", "norm \ufffd"),
        ("", ""),
        ("x" * 9 + ".bn", "x" * 9 + ".bn"),
        ("x" * 10 + ".bn", "…" + "x" * 8 + ".bn"),
    ],
)
def test_a_name_is_shown_in_characters_that_any_font_has(text: str, shown: str) -> None:
    assert legible(text, 12) == shown


def test_a_number_agrees_with_its_noun() -> None:
    assert [counted(n, "row") for n in (0, 1, 1437)] == ["0 rows", "1 row", "1,437 rows"]
