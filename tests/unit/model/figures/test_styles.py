from itertools import combinations
from typing import get_args

import numpy as np
import pytest

from model.figures.charts import Map, Role
from model.figures.colours import COLOURS, SEQUENTIAL, colours_of, ink_on
from model.figures.styles import STYLES, ordinals, style_of


def luminance(colour: np.ndarray) -> float:
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_roles_are_told_apart_with_and_without_colour() -> None:
    assert set(STYLES) == set(get_args(Role))
    for one, other in combinations(STYLES.values(), 2):
        assert one.colour != other.colour
        assert one.mark != other.mark
        assert one.hatch != other.hatch


def test_several_curves_of_one_role_are_told_apart() -> None:
    looks = [style_of("batch", ordinal) for ordinal in range(7)]

    assert len({look.mark for look in looks}) == 7
    assert looks[0] == STYLES["batch"]
    assert ordinals([("batch", "a"), ("none", "a"), ("batch", "b"), ("batch", "a")]) == [0, 0, 1, 0]


@pytest.mark.parametrize("kind", COLOURS)
def test_texts_are_legible_on_every_colour(kind: str) -> None:
    for share in np.linspace(0, 1, 101):
        cell = np.array(COLOURS[kind](share))
        ink = {"#000000": 0.0, "#FFFFFF": 1.0}[ink_on(cell)]
        assert contrast(luminance(cell[:3]), ink) >= 4.5


def test_lightness_alone_tells_more_from_less() -> None:
    lights = [luminance(np.array(SEQUENTIAL(share)[:3])) for share in np.linspace(0, 1, 20)]

    assert lights == sorted(lights)
    two = colours_of(Map("map", "x", "y", (), "", classes=("no", "yes")))
    assert contrast(*(luminance(np.array(two(share)[:3])) for share in (0.0, 1.0))) > 7
