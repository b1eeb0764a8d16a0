from itertools import pairwise
from math import log
from xml.etree import ElementTree

import pytest

from model.lab.report import effect_json
from model.lab.verdict import Declared, OfSeed, judge
from model.pages.interval import LETTER, SIDE, WIDTH, interval_drawing

RATIO = Declared("steps <b>", "", "ratio", "below", 3.0)
DIFFERENCE = Declared("accuracy", "points", "difference", "above", 1.0)


def drawn(declared: Declared, *values: float | None) -> ElementTree.Element:
    seeds = [OfSeed(seed, value) for seed, value in enumerate(values)]
    return ElementTree.fromstring(interval_drawing(effect_json(judge(declared, seeds))))


def number(element: ElementTree.Element, name: str) -> float:
    return float(element.get(name) or "nan")


def of(root: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [one for one in root.iter() if one.get("class") == kind]


@pytest.mark.parametrize(
    ("declared", "values"), [(DIFFERENCE, (2.0, 3.0, 4.5)), (RATIO, (0.1, 0.2, 0.4))]
)
def test_seeds_ends_and_margins_stand_on_one_scale(
    declared: Declared, values: tuple[float, ...]
) -> None:
    root = drawn(declared, *values)
    effect = judge(declared, [OfSeed(seed, value) for seed, value in enumerate(values)])
    is_ratio = declared.scale == "ratio"
    margin = declared.margin
    numbers = [*values, effect.ci_low or 0, effect.ci_high or 0, 1 / margin if is_ratio else margin]
    on_scale = [log(value) if is_ratio else value for value in numbers]

    bar = of(root, "spread")[0]
    at = [number(dot, "cx") for dot in of(root, "seed")]
    at += [number(bar, "x1"), number(bar, "x2"), number(of(root, "threshold")[0], "x1")]

    slope = (at[1] - at[0]) / (on_scale[1] - on_scale[0])
    assert slope > 0
    for place, value in zip(at, on_scale, strict=True):
        assert place == pytest.approx(at[0] + slope * (value - on_scale[0]), abs=0.01)
        assert SIDE <= place <= WIDTH - SIDE


def test_the_claimed_side_is_tinted() -> None:
    above, below = (
        of(drawn(*one), "claimed")[0] for one in ((DIFFERENCE, 2, 3), (RATIO, 0.2, 0.3))
    )

    assert number(above, "x") + number(above, "width") == WIDTH - SIDE
    assert number(below, "x") == SIDE


@pytest.mark.parametrize("scale", [1e-9, 0.3, 1.0, 12345.678, 1e9])
def test_words_at_ticks_have_room(scale: float) -> None:
    declared = Declared("a", "", "difference", "above", 0.1 * scale)
    root = drawn(declared, scale, 1.1 * scale, 1.3 * scale)

    words = [one for one in root.iter("text") if one.get("text-anchor") == "middle"]
    boxes = [(number(one, "x"), LETTER * len(one.text or "")) for one in words]
    assert len(boxes) >= 2
    for (one, wide), (other, width) in pairwise(boxes):
        assert other - one > (wide + width) / 2
    assert boxes[0][0] - boxes[0][1] / 2 >= 0
    assert boxes[-1][0] + boxes[-1][1] / 2 <= WIDTH


def test_one_seed_has_no_bar_and_none_no_drawing() -> None:
    assert of(drawn(DIFFERENCE, 2.0), "spread") == []
    assert len(of(drawn(DIFFERENCE, 2.0, None), "seed")) == 1
    nothing = judge(DIFFERENCE, [OfSeed(0, None, "diverged")])
    assert interval_drawing(effect_json(nothing)) == ""
