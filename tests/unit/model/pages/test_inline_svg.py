import re
from xml.etree import ElementTree

import numpy as np

from model.figures.charts import Curve, Curves, Map
from model.figures.draw_chart import svg
from model.pages.inline_svg import inline
from tests.drawings import figure

CURVES = Curves("p", "x", "y", (Curve("c", [0, 1], [0, 1], "none"),))
MAP = Map("m", "x", "y", tuple(map(tuple, np.eye(60).tolist())), "c")


def ids(text: str) -> set[str]:
    return set(re.findall(r'\sid="([^"]+)"', text))


def references(text: str) -> set[str]:
    found: set[str] = set(re.findall(r"url\(#([^)]+)\)", text))
    return found | set(re.findall(r'href="#([^"]+)"', text))


def test_ids_have_the_prefix_and_references_lead_to_them() -> None:
    drawing = svg(figure(CURVES, MAP))

    text = inline(drawing, "f1-", "a label")

    assert len(ids(text)) == len(ids(drawing.decode())) > 20
    assert all(one.startswith("f1-") for one in ids(text))
    assert references(text) <= ids(text)
    assert len(references(text)) == len(references(drawing.decode())) > 5
    assert not ids(text) & ids(inline(drawing, "f2-", "a label"))


def test_only_what_is_drawn_is_left_of_a_file() -> None:
    text = inline(svg(figure(CURVES, MAP)), "f1-", 'a "label" <b>')

    root = ElementTree.fromstring(text.replace("xlink:href", "href"))
    assert root.tag == "svg"
    assert (root.get("role"), root.get("aria-label")) == ("img", 'a "label" <b>')
    assert root.get("viewBox")
    assert root.get("width") is None
    assert "http" not in text
    assert "<style" not in text
    assert "<metadata" not in text
    assert "<?xml" not in text
    assert "<!" not in text
    assert 'href="data:image/png;base64,' in text
    assert "a figure".title().split()[0] in text


def test_no_text_of_a_drawing_is_taken_for_an_id() -> None:
    hostile = 'x id="a" url(#b) href="#c" <metadata></metadata>'
    curve = Curve(hostile, [0, 1], [0, 1], "none")

    text = inline(svg(figure(Curves("p", "x", "y", (curve,)))), "f1-", "label")

    root = ElementTree.fromstring(text.replace("xlink:href", "href"))
    assert hostile in "".join("".join(one.itertext()) for one in root.iter("text"))
