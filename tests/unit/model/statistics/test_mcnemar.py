import pytest
from scipy.stats import binomtest

from model.statistics.mcnemar import mcnemar


@pytest.mark.parametrize(
    ("first", "second"),
    [(0, 1), (3, 3), (0, 8), (1, 9), (9, 1), (12, 30), (40, 41), (700, 820), (0, 2000)],
)
def test_it_is_the_two_sided_binomial_test(first, second):
    expected = binomtest(first, first + second, 0.5).pvalue

    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_equal_counts_say_nothing():
    assert mcnemar(0, 0) == mcnemar(7, 7) == 1


def test_ten_thousand_discordant_rows_are_exact():
    assert mcnemar(5000, 5000) == 1
    assert 0 < mcnemar(4800, 5200) < 1e-4
    assert mcnemar(0, 10_000) == 0  # 2^-9999, below the smallest float
