"""A drawing as a part of a page."""

import re

from model.pages.markup import Html, escaped

_BEFORE = re.compile(r"^.*?(?=<svg\b)", re.DOTALL)  # declaration, document type, comments
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_STYLE = re.compile(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", re.DOTALL)
_TITLE = re.compile(r"<title>.*?</title>", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_TAG = re.compile(r"<[^<>]+>")  # in its attributes < and > are escaped
_ROOT = re.compile(r"<svg\b[^>]*>")
_VIEW = re.compile(r'viewBox="([^"]*)"')
_ID = re.compile(r'(?<=\sid=")(?=[^"]+")')
_REFERENCE = re.compile(r'(?<=url\(#)|(?<=href="#)')


def inline(svg: bytes, prefix: str, label: str) -> Html:
    """A drawing of `model.figures` as an element: without what only a file has, ids made unique.

    Args:
        svg: trusted, as matplotlib writes it; it is not checked for scripts.
        prefix: begins every id; letters, digits and hyphens.
        label: what it is, for those who cannot see it.
    """
    text = _BEFORE.sub("", svg.decode(), count=1)
    for what_only_a_file_has in (_METADATA, _STYLE, _TITLE, _COMMENT):
        text = what_only_a_file_has.sub("", text)
    view = _VIEW.search(text)
    box = f' viewBox="{view[1]}"' if view else ""
    # What matplotlib's style sheet says would hold for the whole page.
    joins = "stroke-linejoin:round;stroke-linecap:butt"
    root = f'<svg{box} role="img" aria-label="{escaped(label)}" style="{joins}">'
    text = _ROOT.sub(lambda _: root, text, count=1)
    return Html(_TAG.sub(lambda tag: _prefixed(tag[0], prefix), text).strip())


def _prefixed(tag: str, prefix: str) -> str:
    return _REFERENCE.sub(prefix, _ID.sub(prefix, tag))
