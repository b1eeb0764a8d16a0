"""Effects in words, judged by the laboratory's own verdicts."""

from typing import Any

import pytest

from model.lab.report import effect_json
from model.lab.verdict import Declared, OfSeed, judge
from model.pages.words import claimed, found, no_effect, threshold, why

RATIO = Declared("steps", "", "ratio", "below", 3.0)
DIFFERENCE = Declared("accuracy", "points", "difference", "above", 1.0)


def effect(declared: Declared, *values: float | None) -> dict[str, Any]:
    return effect_json(judge(declared, [OfSeed(seed, value) for seed, value in enumerate(values)]))


def test_an_effect_is_told_with_interval_and_seeds() -> None:
    assert found(effect(DIFFERENCE, 2, 3, 4)) == (
        "3 points, 95\u00a0% interval from 0.5159 to 5.484, mean of 3 seeds."
    )
    assert found(effect(RATIO, 0.2, 0.2)) == (
        "0.2, 95\u00a0% interval from 0.2 to 0.2, geometric mean of 2 seeds."
    )
    assert found(effect(DIFFERENCE, 2)) == "2 points in 1 seed, too few for an interval."
    assert found(effect(DIFFERENCE, None, None)) == "No seed gave a number."


def test_a_ratio_is_claimed_beyond_its_margin_or_one_over_it() -> None:
    assert no_effect(effect(RATIO)) == pytest.approx((1 / 3, 3))
    assert threshold(effect(RATIO)) == pytest.approx(1 / 3)
    above = Declared("a", "", "ratio", "above", 3.0)
    assert threshold(effect(above)) == 3
    assert claimed(effect(RATIO)) == (
        "Stated before the runs: the claim needs the whole interval below 0.3333. "
        "From 0.3333 to 3 counts as no effect."
    )
    below = Declared("a", "", "difference", "below", 0.0)
    assert claimed(effect(below)) == (
        "Stated before the runs: the claim needs the whole interval below 0."
    )


@pytest.mark.parametrize(
    ("values", "verdict", "reason"),
    [
        ((5, 5.1, 5.2), "supports", "All of the interval is on the claimed side."),
        (
            (-5, -5.1, -5.2),
            "contradicts",
            "All of the interval is on the side opposite to the claim.",
        ),
        (
            (0, 0.1, -0.1),
            "contradicts",
            "All of the interval is within what counts as no effect.",
        ),
        (
            (0, 5, -5),
            "inconclusive",
            "The interval reaches across the line that the claim is judged by.",
        ),
        ((5,), "inconclusive", "Without an interval there is no verdict."),
    ],
)
def test_a_verdict_has_its_reason(values: tuple[float, ...], verdict: str, reason: str) -> None:
    told = effect(DIFFERENCE, *values)

    assert told["verdict"] == verdict
    assert why(told) == reason


def test_a_verdict_that_a_bound_leaves_open_says_so() -> None:
    bound = OfSeed(2, -5.2, "batch diverged: at least this", "at least")
    told = effect_json(judge(DIFFERENCE, [OfSeed(0, -5.0), OfSeed(1, -5.1), bound]))
    assert told["verdict"] == "inconclusive"
    assert why(told) == "Of a seed there is only a bound, and what is true may lie across the line."
    wide = effect_json(judge(DIFFERENCE, [OfSeed(0, 0.0), OfSeed(1, 5.0), bound]))
    assert why(wide) == "The interval reaches across the line that the claim is judged by."
