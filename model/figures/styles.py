"""How each role looks: told apart by colour, and without it by dashes, marks and hatching."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from matplotlib.colors import to_rgb
from matplotlib.typing import LineStyleType

from model.figures.charts import Role
from model.figures.look import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PALE_INK,
    PURPLE,
    SKY_BLUE,
    VERMILLION,
)

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Style:
    """One role's look."""

    colour: Colour
    line: LineStyleType
    mark: str
    hatch: str


STYLES: Mapping[Role, Style] = {
    "batch": Style(to_rgb(BLUE), "-", "o", ""),
    "none": Style(to_rgb(VERMILLION), (0, (5, 1.5)), "s", "////"),
    "noisy": Style(to_rgb(GREEN), (0, (5, 1.2, 1, 1.2)), "^", "...."),
    "other": Style(to_rgb(ORANGE), (0, (2.4, 1.1)), "D", "\\\\\\\\"),
    "third": Style(to_rgb(PURPLE), (0, (7, 1.2, 1, 1.2, 1, 1.2)), "v", "xxxx"),
    "fourth": Style(to_rgb(SKY_BLUE), (0, (9, 2)), "P", "----"),
    "fifth": Style(to_rgb(BLACK), (0, (1, 1)), "X", "++++"),
    "aside": Style(to_rgb(PALE_INK), "-", ".", "||||"),
}
DASHED: LineStyleType = (0, (1, 1.3))  # of a second curve of one role; its marks are open
GUIDES: tuple[LineStyleType, ...] = ((0, (1, 2)), (0, (6, 3)), (0, (6, 2, 1, 2)), "-")
_MARKS = "osD^vPX"
_PALER = (0.0, 0.4, 0.6, 0.2)


def style_of(role: Role, ordinal: int = 0) -> Style:
    """The look of a role.

    Args:
        ordinal: counts what else has this role in the panel; later ones are paler and have
            other marks.
    """
    style = STYLES[role]
    if not ordinal:
        return style
    mark = _MARKS[(_MARKS.find(style.mark) + ordinal) % len(_MARKS)]
    return replace(style, colour=paler(style.colour, _PALER[ordinal % len(_PALER)]), mark=mark)


def ordinals(keys: Sequence[tuple[Hashable, str]]) -> list[int]:
    """For each (look, label) how many other labels have had this look before it."""
    seen: dict[Hashable, list[str]] = {}
    found = []
    for look, label in keys:
        labels = seen.setdefault(look, [])
        if label not in labels:
            labels.append(label)
        found.append(labels.index(label))
    return found


def paler(colour: Colour, share: float) -> Colour:
    """A colour mixed with a share of white."""
    red, green, blue = (part + share * (1 - part) for part in colour)
    return red, green, blue
