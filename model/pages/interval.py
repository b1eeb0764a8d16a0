"""An effect as a small drawing: its interval, its margin and a dot for every seed."""

from model.figures.scales import Scale, Tick, scale_of, ticks_with_room
from model.pages.markup import EMPTY, Html, element, joined
from model.pages.words import Effect, found, no_effect, threshold

# In the drawing's own units; it is shown at up to 1.2 of their size.
WIDTH, SIDE = 400, 20
CLAIM, TOP, MIDDLE, SEEDS, ROW, BOTTOM = 14, 22, 44, 64, 8, 92
FONT, LETTER = 12, 7.6  # height, and the most that a digit takes
MOST_ROWS = 3


def interval_drawing(effect: Effect) -> Html:
    """The effect on an axis, logarithmic for a ratio; nothing without a number."""
    seeds = [one["value"] for one in effect["seeds"] if one["value"] is not None]
    ends = [effect[key] for key in ("value", "ci_low", "ci_high") if effect[key] is not None]
    if not ends:
        return EMPTY
    is_ratio = effect["scale"] == "ratio"
    least = (*no_effect(effect), *ends)
    scale = scale_of([seeds], is_ratio, least, margin=0.12)
    parts = [
        *_zones(effect, scale),
        *_axis(scale),
        *_seeds(seeds, scale),
        *_interval(effect, scale),
    ]
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH} {BOTTOM + 24}",
        class_="interval",
        role="img",
        aria_label=found(effect),
    )


def _at(value: float, scale: Scale) -> float:
    return SIDE + float(scale.share(value)) * (WIDTH - 2 * SIDE)


def _zones(effect: Effect, scale: Scale) -> list[Html]:
    """What counts as no effect, and the claimed side."""
    low, high = (_at(end, scale) for end in no_effect(effect))
    at, is_above = _at(threshold(effect), scale), effect["claimed"] == "above"
    left, right = (at, WIDTH - SIDE) if is_above else (SIDE, at)
    box = {"y": TOP, "height": BOTTOM - TOP}
    side = element(
        "text",
        "claimed \u2192" if is_above else "\u2190 claimed",
        x=WIDTH - SIDE if is_above else SIDE,
        y=CLAIM,
        text_anchor="end" if is_above else "start",
        class_="aside",
    )
    return [
        element("rect", x=left, width=right - left, class_="claimed", **box),
        element("rect", x=low, width=max(high - low, 1.0), class_="none", **box),
        element("line", x1=at, x2=at, y1=TOP, y2=BOTTOM, class_="threshold"),
        side,
    ]


def _axis(scale: Scale) -> list[Html]:
    line = element("line", x1=SIDE, x2=WIDTH - SIDE, y1=BOTTOM, y2=BOTTOM, class_="axis")
    marks = []
    for tick in _ticks(scale):
        low, high = scale.ends
        at = SIDE + (tick.at - low) / (high - low) * (WIDTH - 2 * SIDE)
        marks.append(element("line", x1=at, x2=at, y1=BOTTOM, y2=BOTTOM + 4, class_="axis"))
        marks.append(element("text", tick.text, x=at, y=BOTTOM + 18, text_anchor="middle"))
    return [line, *marks]


def _ticks(scale: Scale) -> tuple[Tick, ...]:
    """As many as have room beside each other."""
    return ticks_with_room(scale, WIDTH - 2 * SIDE, LETTER, lambda text: len(text) * LETTER)


def _seeds(seeds: list[float], scale: Scale) -> list[Html]:
    return [
        element(
            "circle",
            cx=_at(value, scale),
            cy=SEEDS + number % MOST_ROWS * ROW,
            r=3.5,
            class_="seed",
        )
        for number, value in enumerate(seeds)
    ]


def _interval(effect: Effect, scale: Scale) -> list[Html]:
    middle = _at(effect["value"], scale)
    diamond = f"M{middle:.6g} {MIDDLE - 7}l6 7l-6 7l-6 -7z"
    value = element("path", d=diamond, class_="value")
    if effect["ci_low"] is None or effect["ci_high"] is None:
        return [value]
    low, high = _at(effect["ci_low"], scale), _at(effect["ci_high"], scale)
    ends = joined(
        element("line", x1=end, x2=end, y1=MIDDLE - 6, y2=MIDDLE + 6, class_="spread")
        for end in (low, high)
    )
    return [element("line", x1=low, x2=high, y1=MIDDLE, y2=MIDDLE, class_="spread"), ends, value]
