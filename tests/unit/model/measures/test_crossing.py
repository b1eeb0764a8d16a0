from itertools import pairwise
from math import inf, nan

import pytest

from model.measures.crossing import (
    Crossing,
    bisect,
    first_above,
    first_crossing,
    log_steps,
    spread,
)

ALPHAS = [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("values", "crossing"),
    [
        ([0, 1, 2, 3], Crossing(3.0, None)),
        ([0, 2, 0, 3], Crossing(2.0, None)),  # the first, though it comes down again
        ([1, 1, 1, 1], Crossing(None, "above")),  # at the level is not above it
        ([2, 0, 0, 0], Crossing(None, "below")),
        ([0, nan, 0, 0], Crossing(2.0, None)),
        ([0, 0, 0, inf], Crossing(4.0, None)),
        ([nan, nan, nan, nan], Crossing(None, "below")),
    ],
)
def test_a_crossing_is_the_first_step_above_or_a_bound(values, crossing):
    assert first_above(ALPHAS, values, 1.0) == crossing


@pytest.mark.parametrize("level", [nan, inf])
def test_a_level_that_is_not_finite_is_passed_at_once(level):
    assert first_above(ALPHAS, [0, 0, 0, 0], level) == Crossing(None, "below")


def test_ten_steps_a_decade_over_nine_decades_are_ninety_one():
    steps = log_steps(1e-8, 10.0, 10)

    assert len(steps) == 91
    assert (steps[0], steps[-1]) == (1e-8, 10.0)
    assert steps[10] == pytest.approx(1e-7, rel=1e-12)
    ratios = [after / before for before, after in pairwise(steps)]
    assert ratios == pytest.approx([10**0.1] * 90, rel=1e-9)


def test_part_of_a_decade_has_both_its_ends():
    assert log_steps(1.0, 1.1, 1) == [1.0, 1.1]
    assert log_steps(1.0, 20.0, 1) == pytest.approx([1.0, 20**0.5, 20.0])


def test_half_to_four_in_eight_has_one_in_it():
    assert spread(0.5, 4.0, 8, "linear") == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]
    assert spread(0.01, 100.0, 5, "log") == pytest.approx([0.01, 0.1, 1.0, 10.0, 100.0])


def test_a_crossing_is_bracketed_and_nothing_behind_it_is_looked_at():
    asked = []

    def value(alpha):
        asked.append(alpha)
        return alpha

    assert first_crossing(value, 2.5, ALPHAS) == (2.0, 3.0)
    assert asked == [1.0, 2.0, 3.0]
    assert first_crossing(value, 0.5, ALPHAS) == (None, 1.0)
    assert first_crossing(value, 9.0, ALPHAS) == (4.0, None)


def test_bisection_holds_the_level_within_its_tolerance():
    found = bisect(lambda alpha: alpha**2, 2.0, 1.0, 100.0, 1e-6)

    assert 2**0.5 * (1 - 1e-6) <= found <= 2**0.5
