from itertools import pairwise
from math import inf, log10, nan

import numpy as np
import pytest

from model.figures.scales import (
    Scale,
    can_show,
    number_text,
    scale_of,
    tick_texts,
    ticks_with_room,
    why_not,
)


def texts(scale: Scale, most: int) -> list[str]:
    return [tick.text for tick in scale.ticks(most)]


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 1, 6, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 1, 5, ["0.00", "0.25", "0.50", "0.75", "1.00"]),
        (-3, 5000, 6, ["0", "1,000", "2,000", "3,000", "4,000", "5,000"]),
        (-1, 1, 3, ["-1", "0", "1"]),
        (0, 4e7, 5, ["0", "1e7", "2e7", "3e7", "4e7"]),
        (0, 2.5e-5, 6, ["0", "5e-6", "1e-5", "1.5e-5", "2e-5", "2.5e-5"]),
        (1, 1.00004, 5, ["1.00000", "1.00001", "1.00002", "1.00003", "1.00004"]),
    ],
)
def test_ticks_are_round_numbers_with_as_many_places_as_tell_them_apart(
    low: float, high: float, most: int, expected: list[str]
) -> None:
    assert texts(Scale(low, high), most) == expected


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (1e-8, 10, 10, [*(f"1e-{power}" for power in range(8, 0, -1)), "1", "1e1"]),
        (1e-8, 10, 5, ["1e-8", "1e-6", "1e-4", "1e-2", "1"]),
        (0.01, 100, 8, ["0.01", "0.1", "1", "10", "100"]),
        (80, 9000, 4, ["100", "300", "1,000", "3,000"]),
        (1, 30, 8, ["1", "2", "5", "10", "20"]),
        (2, 9, 8, ["2", "5"]),
        (11, 19, 5, ["12", "14", "16", "18"]),
    ],
)
def test_ticks_of_a_logarithmic_scale_are_powers_of_ten_or_simple_multiples(
    low: float, high: float, most: int, expected: list[str]
) -> None:
    assert texts(Scale(low, high, True), most) == expected


def test_ticks_stand_at_their_numbers() -> None:
    for scale in (Scale(0, 7), Scale(0.2, 3e4, True)):
        for tick in scale.ticks(6):
            number = float(tick.text.replace(",", ""))
            assert tick.at == pytest.approx(log10(number) if scale.is_log else number)
            assert scale.ends[0] <= tick.at <= scale.ends[1]


def test_any_scale_has_ticks_that_can_be_told_apart() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        middle, spread = generator.normal() * 10 ** generator.uniform(-30, 30, 2)
        scale = scale_of([[middle, middle + abs(spread)]])
        found = texts(scale, 8)
        assert 1 <= len(found) <= 8
        assert len(set(found)) == len(found)


def test_a_scale_shows_all_numbers_that_can_be_shown_and_what_it_must() -> None:
    scale = scale_of([[1, nan, 3], [inf, -inf, 1e300]], least=(0,), margin=0.1)

    assert (scale.low, scale.high) == pytest.approx((-0.3, 3.3))
    assert scale_of([[1, 100, 0, -5]], is_log=True, margin=0).ends == pytest.approx((0, 2))


@pytest.mark.parametrize("numbers", [[], [nan, inf], [0.0], [5e-324, 0.0], [7.0], [-1e99, -1e99]])
@pytest.mark.parametrize("is_log", [False, True])
def test_a_scale_is_never_empty(numbers: list[float], is_log: bool) -> None:
    low, high = scale_of([numbers], is_log).ends

    assert high > low
    assert np.isfinite([low, high]).all()


def test_coordinates_are_numbers_or_their_logarithms() -> None:
    numbers = [1, 100, 0, -1, nan, inf, 1e100]

    np.testing.assert_array_equal(Scale(1, 100, True).at(numbers), [0, 2, nan, nan, nan, nan, nan])
    np.testing.assert_array_equal(Scale(0, 1).at(numbers), [1, 100, 0, -1, nan, nan, nan])
    np.testing.assert_allclose(Scale(1, 100, True).share([1, 10, 1000]), [0, 0.5, 1])
    assert Scale(0, 1).holds([0, 1, 1.1, nan]).tolist() == [True, True, False, False]


def test_numbers_that_cannot_be_shown_are_told_by_why() -> None:
    assert why_not([1, -1, 0]) == ()
    assert why_not([1, nan]) == ("not finite",)
    assert why_not([0, -1, 1e-99], is_log=True) == ("not above 0",)
    assert why_not([inf, 1e101, 0], is_log=True) == (
        "not finite",
        "not above 0",
        "too large or small to draw",
    )
    assert why_not([-1e200]) == ("too large or small to draw",)
    assert can_show([1e-101, 1], is_log=True).tolist() == [False, True]


def test_ticks_leave_room_between_their_words() -> None:
    scale = Scale(0, 1_000_000)

    counts = []
    for length in (10, 50, 100, 300, 2000):
        found = ticks_with_room(scale, length, 5, lambda text: 10.0 * len(text))
        ends = [(tick.at / 1e6 * length, 10 * len(tick.text)) for tick in found]
        for (before, one), (after, other) in pairwise(ends):
            assert after - before >= (one + other) / 2 + 5
        counts.append(len(found))
    assert counts[0] == 1
    assert counts == sorted(counts)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.21534, "0.2153"),
        (1234.5, "1,234"),
        (123456.0, "123,500"),
        (-0.001, "-0.001"),
        (0.00012345, "1.23e-4"),
        (2e6, "2e6"),
        (3, "3"),
        (nan, "NaN"),
        (inf, "inf"),
        (-inf, "-inf"),
    ],
)
def test_a_number_alone_is_written_with_four_digits(value: float, text: str) -> None:
    assert number_text(value) == text


def test_numbers_of_one_axis_are_written_alike() -> None:
    assert tick_texts([0, 0.5, 1]) == ["0.0", "0.5", "1.0"]
    assert tick_texts([1e-6, 1, 1e6], is_log=True) == ["1e-6", "1", "1e6"]
    assert tick_texts([]) == []
