"""Straight lines across a panel that numbers are read against."""

from collections.abc import Sequence

from model.figures.charts import Guide
from model.figures.legend import Entry
from model.figures.look import INK
from model.figures.place import Place
from model.figures.scales import Scale
from model.figures.styles import GUIDES


def guide_entries(guides: Sequence[Guide]) -> tuple[Entry, ...]:
    """What the legend says of them."""
    return tuple(
        Entry(guide.label, INK, line=GUIDES[number % len(GUIDES)], is_upright=guide.axis == "x")
        for number, guide in enumerate(guides)
    )


def guides_on(guides: Sequence[Guide], axis: str) -> tuple[float, ...]:
    """The numbers of one axis at which there are guides."""
    return tuple(guide.at for guide in guides if guide.axis == axis)


def draw_guides(place: Place, guides: Sequence[Guide], x: Scale | None, y: Scale) -> None:
    """Draw those whose numbers the axes can show.

    Args:
        x: None where only y has numbers.
    """
    for number, guide in enumerate(guides):
        scale = x if guide.axis == "x" else y
        if scale is None or not scale.holds(guide.at):
            continue
        line = place.axes.axvline if guide.axis == "x" else place.axes.axhline
        at = float(scale.at(guide.at))
        line(at, color=INK, linewidth=1, linestyle=GUIDES[number % len(GUIDES)], zorder=2.5)
