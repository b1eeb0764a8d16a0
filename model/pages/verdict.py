"""What was judged: the verdict, the effect in words and drawn, and every seed."""

from collections.abc import Sequence

from model.figures.scales import number_text
from model.pages.interval import interval_drawing
from model.pages.markup import Html, element
from model.pages.tables import cell_text, table
from model.pages.words import VERDICTS, Effect, claimed, found, no_effect, threshold, why

MOST_SEEDS = 5  # that are listed unfolded
CAPTION = (
    "Diamond and bar: the effect and its interval. Circles: one seed each. Tinted: the claimed "
    "side. Grey: what counts as no effect."
)


def verdict_box(verdict: str, effect: Effect | None) -> Html:
    """A verdict with all that it rests on.

    Args:
        effect: None where what was found is no number.
    """
    said = element("strong", VERDICTS[verdict])
    if effect is None:
        return element("div", said, class_=f"verdict {verdict}")
    drawing = interval_drawing(effect)
    return element(
        "div",
        said,
        element("p", element("b", effect["name"]), ": ", found(effect)),
        drawing,
        element("p", CAPTION, class_="caption") if drawing else None,
        element("p", claimed(effect), " ", why(effect)),
        _seeds(effect),
        class_=f"verdict {verdict}",
    )


def effects_table(effects: Sequence[Effect]) -> Html:
    """More effects of the same runs, one a row."""
    rows = [
        [
            effect["name"],
            _number(effect["value"]),
            _number(effect["ci_low"]),
            _number(effect["ci_high"]),
            str(effect["n"]),
            effect["verdict"],
            f"{effect['claimed']} {number_text(threshold(effect))}",
            " to ".join(map(number_text, no_effect(effect))),
        ]
        for effect in effects
    ]
    columns = ("effect", "value", "from", "to", "seeds", "verdict", "claimed", "no effect")
    return table(columns, rows, (False, *[True] * 4, *[False] * 3))


def _seeds(effect: Effect) -> Html | None:
    if not effect["seeds"]:
        return None
    rows = [[str(one["seed"]), _number(one["value"]), one["note"] or ""] for one in effect["seeds"]]
    inner = table(("seed", "effect", "note"), rows, (True, True, False))
    many = element("summary", f"All {len(rows)} seeds")
    return inner if len(rows) <= MOST_SEEDS else element("details", many, inner)


def _number(value: float | None) -> str:
    return cell_text(None) if value is None else number_text(value)
