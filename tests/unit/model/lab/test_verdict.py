"""Effects, their intervals and what follows from them."""

import math

import numpy as np
import pytest
from scipy import stats

from model.lab.verdict import Bound, Declared, OfSeed, judge

DIFFERENCE = Declared("points gained", "points", "difference", "above", margin=1.0)
RATIO = Declared("steps: batch / none", "", "ratio", "below", margin=3.0)


def seeds(*values: float | None) -> list[OfSeed]:
    return [OfSeed(seed, value) for seed, value in enumerate(values)]


def test_the_interval_of_differences_is_students() -> None:
    values = np.array([4.1, 2.7, 3.6, 5.0])
    effect = judge(DIFFERENCE, seeds(*values))
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert effect.value == pytest.approx(values.mean())
    assert (effect.ci_low, effect.ci_high) == (pytest.approx(low), pytest.approx(high))
    assert effect.n == 4


def test_ratios_are_averaged_as_logarithms() -> None:
    values = np.array([0.1, 0.2, 0.05])
    effect = judge(RATIO, seeds(*values))
    logs = np.log(values)
    low, high = np.exp(stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs)))
    assert effect.value == pytest.approx(stats.gmean(values))
    assert (effect.ci_low, effect.ci_high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((5.0, 5.1, 4.9), "supports"),
        ((-5.0, -5.1, -4.9), "contradicts"),
        ((0.1, 0.0, -0.1), "contradicts"),  # no effect, and that is known
        ((1.0, 1.1, 0.9), "inconclusive"),  # on the margin
        ((5.0, 0.0, 9.0), "inconclusive"),
        ((5.0,), "inconclusive"),
        ((), "inconclusive"),
    ],
)
def test_a_difference_is_judged_by_its_whole_interval(
    values: tuple[float, ...], verdict: str
) -> None:
    assert judge(DIFFERENCE, seeds(*values)).verdict == verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.1, 0.11, 0.09), "supports"),
        ((10.0, 11.0, 9.0), "contradicts"),
        ((1.0, 1.01, 0.99), "contradicts"),
        ((0.1, 1.0, 3.0), "inconclusive"),
    ],
)
def test_a_ratio_that_should_be_small_is_judged_on_the_logarithms(
    values: tuple[float, ...], verdict: str
) -> None:
    assert judge(RATIO, seeds(*values)).verdict == verdict


def test_equal_seeds_leave_an_interval_without_width() -> None:
    effect = judge(DIFFERENCE, seeds(2.0, 2.0, 2.0))
    assert (effect.ci_low, effect.ci_high, effect.verdict) == (2.0, 2.0, "supports")


def test_a_seed_without_a_number_is_shown_and_not_counted() -> None:
    effect = judge(DIFFERENCE, [*seeds(5.0, 5.1), OfSeed(2, None, "both never arrived")])
    assert (effect.n, len(effect.seeds)) == (2, 3)


def test_one_seed_has_an_effect_and_no_interval() -> None:
    effect = judge(RATIO, seeds(0.5))
    assert effect.value == pytest.approx(0.5)
    assert (effect.ci_low, effect.ci_high) == (None, None)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_cannot_be_averaged(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be averaged as a difference"):
        judge(DIFFERENCE, seeds(1.0, value))


def test_a_ratio_of_nothing_cannot_be_averaged() -> None:
    with pytest.raises(ValueError, match="cannot be averaged as a ratio"):
        judge(RATIO, seeds(1.0, 0.0))


BELOW = Declared("points lost", "points", "difference", "below", margin=1.0)


@pytest.mark.parametrize(
    ("declared", "values", "bound", "verdict"),
    [
        # The true value may lie across the margin, and then the claim is right.
        (DIFFERENCE, (-5.0, -5.1, -4.9), "at least", "inconclusive"),
        (DIFFERENCE, (0.1, 0.0, -0.1), "at least", "inconclusive"),
        (BELOW, (5.0, 5.1, 4.9), "at most", "inconclusive"),
        (RATIO, (10.0, 11.0, 9.0), "at most", "inconclusive"),
        # The true value may lie across the margin, and then the claim is wrong.
        (DIFFERENCE, (5.0, 5.1, 4.9), "at most", "inconclusive"),
        (BELOW, (-5.0, -5.1, -4.9), "at least", "inconclusive"),
        (RATIO, (0.1, 0.11, 0.09), "at least", "inconclusive"),
        # The true value lies still further off than what decides already.
        (DIFFERENCE, (5.0, 5.1, 4.9), "at least", "supports"),
        (RATIO, (0.1, 0.11, 0.09), "at most", "supports"),
        (DIFFERENCE, (-5.0, -5.1, -4.9), "at most", "contradicts"),
        (DIFFERENCE, (0.1, 0.0, -0.1), "at most", "contradicts"),
        (RATIO, (10.0, 11.0, 9.0), "at least", "contradicts"),
    ],
)
def test_a_bound_decides_nothing_that_the_true_value_could_turn(
    declared: Declared, values: tuple[float, ...], bound: Bound, verdict: str
) -> None:
    numbers = seeds(*values)
    assert judge(declared, [*numbers[:2], OfSeed(2, values[2], bound=bound)]).verdict == verdict


def test_a_bound_without_a_number_forbids_no_verdict() -> None:
    nothing = OfSeed(2, None, bound="at least")
    assert judge(DIFFERENCE, [*seeds(-5.0, -5.1), nothing]).verdict == "contradicts"


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((1.0, 1e50), "inconclusive"),  # an interval from 10^-293 to 10^343
        ((1e-300, 1e300), "inconclusive"),
        ((1e-300, 2e-300), "supports"),
        ((5e-324, 5e-324), "supports"),
        ((1.7e308, 1.7e308), "contradicts"),
    ],
)
def test_ratios_of_seeds_far_apart_have_an_interval_of_numbers(
    values: tuple[float, ...], verdict: str
) -> None:
    effect = judge(RATIO, seeds(*values))
    assert effect.ci_low is not None
    assert effect.ci_high is not None
    assert 0 < effect.ci_low <= effect.ci_high < math.inf
    assert effect.verdict == verdict


def test_differences_of_seeds_far_apart_have_an_interval_of_numbers() -> None:
    effect = judge(DIFFERENCE, seeds(-1.7e308, 1.7e308))
    assert effect.value == 0.0
    assert effect.ci_low is not None
    assert effect.ci_high is not None
    assert -math.inf < effect.ci_low < effect.ci_high < math.inf
    assert effect.verdict == "inconclusive"


def test_a_margin_is_a_size() -> None:
    with pytest.raises(ValueError, match=r"a ratio cannot have a margin of 0\.5"):
        Declared("x", "", "ratio", "above", margin=0.5)
    with pytest.raises(ValueError, match="a difference cannot have a margin of -1"):
        Declared("x", "", "difference", "above", margin=-1)


def test_three_seeds_cover_what_they_promise() -> None:
    """Of 4,000 experiments of three seeds each, 95 % hold the true effect; a bootstrap's do not."""
    draws = np.random.default_rng(0).normal(2.0, 1.0, (4_000, 3))
    found = [judge(DIFFERENCE, seeds(*row)) for row in draws]
    covered = np.mean([e.ci_low <= 2.0 <= e.ci_high for e in found])  # type: ignore[operator]
    assert abs(covered - 0.95) < 0.012
