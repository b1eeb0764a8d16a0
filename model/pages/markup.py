"""HTML that is escaped and closed because of how it is made."""

import unicodedata
from collections.abc import Iterable
from html import escape

_WITHOUT_END = {"br", "meta", "col", "circle", "line", "path", "rect"}


class Html(str):
    """Text that is HTML already. Only functions of this file and trusted drawings make it."""

    __slots__ = ()


EMPTY = Html("")
Content = str | None


def element(tag: str, /, *content: Content, **attributes: str | float | None) -> Html:
    """An element with what is in it.

    Args:
        tag: its name.
        content: in its order. `Html` comes in as it is, any other text escaped; None is left
            out.
        attributes: escaped; None is left out. A trailing underscore is dropped and others
            become hyphens: `class_`, `stroke_width`.
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in _WITHOUT_END:
        return Html(f"<{tag}{told}/>")
    return Html(f"<{tag}{told}>{joined(content)}</{tag}>")


def joined(content: Iterable[Content]) -> Html:
    """Content one after the other, text escaped."""
    return Html("".join(escaped(one) for one in content if one is not None))


def escaped(text: str) -> Html:
    """HTML as it is; text with what means something in HTML written as text.

    Characters that HTML cannot hold, or that change the direction of what follows, become a mark.
    """
    if isinstance(text, Html):
        return text
    return Html(escape("".join(one if _may_stay(one) else "\ufffd" for one in text)))


def _may_stay(character: str) -> bool:
    return character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs"


def _attribute(value: str | float) -> str:
    return escaped(value if isinstance(value, str) else f"{value:.6g}")
