import pytest

from model.pages.markup import Html, element, escaped, joined


def test_text_is_escaped_and_html_is_not() -> None:
    inner = element("b", "a < b & c")

    assert inner == "<b>a &lt; b &amp; c</b>"
    assert element("p", "<i>", inner, None) == "<p>&lt;i&gt;<b>a &lt; b &amp; c</b></p>"
    assert joined(["<", Html("<br/>")]) == "&lt;<br/>"


def test_attributes_are_escaped_and_named_as_in_html() -> None:
    made = element("a", "x", href='"><script>', class_="c", aria_label="l", title=None)

    assert made == '<a href="&quot;&gt;&lt;script&gt;" class="c" aria-label="l">x</a>'
    assert element("circle", cx=1 / 3, cy=2) == '<circle cx="0.333333" cy="2"/>'
    assert element("meta", name="viewport") == '<meta name="viewport"/>'


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\x00b\x1bc", "a\ufffdb\ufffdc"),
        ("\u202eevil", "\ufffdevil"),
        ("\ud800", "\ufffd"),
        ("漢字 σ\u00a0é\n\t", "漢字 σ\u00a0é\n\t"),  # noqa: RUF001
    ],
)
def test_characters_that_a_page_cannot_hold_are_marked(text: str, kept: str) -> None:
    assert escaped(text) == kept
