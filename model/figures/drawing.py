"""What the sheet must know of a panel to give it its place."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from model.figures.charts import Panel
from model.figures.legend import Entry
from model.figures.place import Place


class Drawing(Protocol):
    """One panel with its scales, ready to be drawn. All lengths are inches."""

    @property
    def title(self) -> str:
        """Its heading."""

    @property
    def aside(self) -> str:
        """A line below the heading, or nothing."""

    @property
    def sides(self) -> tuple[str, ...]:
        """Labels beside its axes."""

    def entries(self, width: float) -> tuple[Entry, ...]:
        """What the legend of axes of this width must explain."""

    def notes(self, width: float) -> tuple[str, ...]:
        """What it does not show, and readers would not see."""

    def height(self, width: float) -> float:
        """Of its axes, in a column of this width."""

    def left(self, height: float) -> float:
        """Room for ticks and words on its left side."""

    def right(self, height: float) -> float:
        """Room on its right side."""

    def above(self, width: float) -> float:
        """Room for words above axes of this width."""

    def below(self, width: float) -> float:
        """Room for ticks and words below them."""

    def draw(self, place: Place) -> None:
        """Draw it into axes, which have no ticks and limits yet."""


P = TypeVar("P", bound=Panel)


@dataclass(frozen=True)
class OfPanel(Generic[P]):
    """What drawings of most kinds of panels answer alike."""

    panel: P

    @property
    def title(self) -> str:
        """Its heading."""
        return self.panel.title

    @property
    def aside(self) -> str:
        """Nothing."""
        return ""

    def notes(self, width: float) -> tuple[str, ...]:
        """Nothing is left out."""
        return ()

    def above(self, width: float) -> float:
        """Nothing."""
        return 0.0
