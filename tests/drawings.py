"""Figures drawn for a look at what is on the paper, and where."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Paper
from matplotlib.text import Text

from model.figures.charts import Figure, Panel
from model.figures.draw_chart import svg
from model.figures.look import draw_pixels
from model.figures.sheet import fill

DPI = 150
SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Word:
    """A text with its box, in pixels from the left lower corner."""

    text: str
    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: "Word") -> bool:
        """Whether the two share more than a line of pixels."""
        return (
            min(self.right, other.right) - max(self.left, other.left) > 1
            and min(self.top, other.top) - max(self.bottom, other.bottom) > 1
        )


@dataclass(frozen=True)
class Laid:
    """A figure on its paper."""

    axes: list[Axes]  # of panels and colour bars, in the order in which they were made
    words: list[Word]
    width: float
    height: float

    @property
    def texts(self) -> list[str]:
        return [word.text for word in self.words]

    def outside(self) -> list[Word]:
        """What leaves the paper."""
        return [
            word
            for word in self.words
            if word.left < 0 or word.bottom < 0 or word.right > self.width or word.top > self.height
        ]

    def overlapping(self) -> list[tuple[Word, Word]]:
        """What stands in each other's place."""
        pairs = ((a, b) for i, a in enumerate(self.words) for b in self.words[i + 1 :])
        return [(a, b) for a, b in pairs if a.overlaps(b)]


def figure(*panels: Panel, **fields: Any) -> Figure:
    told = {"name": "a-figure", "title": "A figure", "evidence": "It is seen."} | fields
    return Figure(panels=panels, **told)


def laid(of: Figure) -> Laid:
    """The figure drawn as pixels, with the place of every word of it."""
    papers: list[Paper] = []

    def keep(paper: Paper) -> None:
        fill(paper, of)
        papers.append(paper)

    draw_pixels("title", (1, 1), keep, dpi=DPI)
    [paper] = papers
    return _measured(paper)


def svg_texts(of: Figure, draw: Callable[[Figure], bytes] = svg) -> list[str]:
    root = ElementTree.fromstring(draw(of))
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def _measured(paper: Paper) -> Laid:
    canvas: Any = paper.canvas
    words = []
    for text in paper.findobj(Text):
        assert isinstance(text, Text)
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent(canvas.get_renderer())
            words.append(Word(text.get_text(), *box.extents))
    width, height = canvas.get_width_height()
    return Laid(paper.axes, words, width, height)
