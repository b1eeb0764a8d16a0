from math import inf, nan

import numpy as np
import pytest

from model.figures.gaps import Gap, alone, gaps_of


@pytest.mark.parametrize(
    ("values", "is_log", "gaps"),
    [
        ([], False, ()),
        ([1.0, -1.0, 0.0], False, ()),
        ([nan, 1.0, inf, nan, -inf], False, (Gap(0, 0, True), Gap(2, 3, True), Gap(4, 4, False))),
        ([1.0, 1e200, -1e200], False, (Gap(1, 1, True), Gap(2, 2, False))),
        ([1.0, 0.0, -1.0, inf], True, (Gap(1, 2, False), Gap(3, 3, True))),
        ([1e-200, 1.0], True, (Gap(0, 0, False),)),
    ],
)
def test_gaps_are_runs_on_the_edge_that_is_nearer(
    values: list[float], is_log: bool, gaps: tuple[Gap, ...]
) -> None:
    assert gaps_of(values, is_log) == gaps


def test_a_gap_is_split_into_its_points() -> None:
    assert Gap(2, 4, True).split() == (Gap(2, 2, True), Gap(3, 3, True), Gap(4, 4, True))


def test_points_between_gaps_stand_alone() -> None:
    there = np.array([True, False, True, True, False, True])

    assert alone(there).tolist() == [True, False, False, False, False, True]
    assert alone(np.array([True])).tolist() == [True]
