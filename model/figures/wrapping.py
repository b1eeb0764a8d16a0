"""Text of a figure by its width: measured, wrapped and shortened, so that it stays in its place.

Matplotlib's fonts are for one thread at a time: call these while a figure is drawn.
"""

import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, lru_cache, partial

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import text_to_path

from model.figures.look import POINTS_PER_INCH, TEXT_POINTS

FAMILY = "DejaVu Sans"  # comes with matplotlib, so that text is measured alike everywhere
TICK_POINTS = TEXT_POINTS - 1
UNKNOWN = "\ufffd"
SPARE = 1.02  # pixels and other programs place letters a little apart
_RIGHT_TO_LEFT = {"R", "AL", "AN"}  # would be set in another order than it is measured


def shown(text: str) -> str:
    """Text in characters that the font has, XML can hold and that run from left to right.

    Any blank becomes a space, and what cannot be shown becomes a mark.
    """
    return "".join(one if _has(one) else UNKNOWN for one in " ".join(text.split()))


@lru_cache(maxsize=8192)
def width_of(text: str, points: float = TEXT_POINTS, is_bold: bool = False) -> float:
    """Inches that one line takes."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, _font(points, is_bold), False)
    return SPARE * float(width) / POINTS_PER_INCH


def wrap(
    text: str, width: float, points: float = TEXT_POINTS, is_bold: bool = False
) -> tuple[str, ...]:
    """Lines of at most so many inches; words that are longer are broken. No text, no lines.

    Args:
        text: any; what the lines hold is `shown`.
    """
    lines: list[str] = []
    for word in _pieces(shown(text), width, points, is_bold):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(longer, points, is_bold) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return tuple(lines)


def has_room_for(text: str, width: float, points: float = TEXT_POINTS) -> bool:
    """Whether every word of a text fits in one line."""
    return all(width_of(word, points) <= width for word in shown(text).split())


def shorten(text: str, width: float, points: float = TEXT_POINTS) -> str:
    """A text, or of a longer one the end after an ellipsis: the end tells layers apart."""
    kept = shown(text)
    if width_of(kept, points) <= width:
        return kept
    kept_long = _longest(len(kept), lambda count: width_of(_ending(kept, count), points) <= width)
    return _ending(kept, kept_long)


def _pieces(text: str, width: float, points: float, is_bold: bool) -> Iterator[str]:
    for word in text.split():
        rest = word
        while len(rest) > 1 and width_of(rest, points, is_bold) > width:
            count = max(1, _longest(len(rest), partial(_fits, rest, width, points, is_bold)))
            yield rest[:count]
            rest = rest[count:]
        yield rest


def _fits(text: str, width: float, points: float, is_bold: bool, count: int) -> bool:
    return width_of(text[:count], points, is_bold) <= width


def _ending(text: str, count: int) -> str:
    return f"…{text[len(text) - count :]}"


def _longest(most: int, fits: Callable[[int], bool]) -> int:
    """The largest of 0 to `most` that fits, found by halving; 0 where none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


@cache
def _font(points: float, is_bold: bool) -> FontProperties:
    return FontProperties(family=FAMILY, size=points, weight="bold" if is_bold else "normal")


@lru_cache(maxsize=4096)
def _has(character: str) -> bool:
    if not character.isprintable() or unicodedata.bidirectional(character) in _RIGHT_TO_LEFT:
        return False
    fonts = (get_font(findfont(_font(TEXT_POINTS, is_bold))) for is_bold in (False, True))
    return all(font.get_char_index(ord(character)) for font in fonts)
