"""Whether a classifier is as sure as it is right, against closed forms and sums by hand."""

import math

import pytest
import torch

from model.measures.confidence import brier_score, expected_calibration_error


def logits_of(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def test_a_classifier_that_is_as_sure_as_it_is_right_has_no_error() -> None:
    logits = logits_of(*[(0.75, 0.25)] * 4)
    assert expected_calibration_error(logits, torch.tensor([0, 0, 0, 1])) == pytest.approx(0)


def test_the_error_is_the_distance_of_each_bin_by_its_rows() -> None:
    logits = logits_of((0.9, 0.1), (0.9, 0.1), (0.4, 0.6))
    found = expected_calibration_error(logits, torch.tensor([0, 1, 1]))
    assert found == pytest.approx((abs(0.5 - 0.9) * 2 + abs(1 - 0.6)) / 3)


def test_opposite_errors_in_one_bin_cancel_and_in_two_do_not() -> None:
    logits = logits_of((0.9, 0.1), (0.6, 0.4))
    classes = torch.tensor([1, 0])  # right less sure: -0.9 and +0.4
    assert expected_calibration_error(logits, classes, bins=1) == pytest.approx(0.5 / 2)
    assert expected_calibration_error(logits, classes, bins=10) == pytest.approx(1.3 / 2)


def test_an_edge_belongs_to_the_bin_below() -> None:
    logits = torch.zeros(2, 4)  # confidence 1/4, an edge of 4 bins
    logits = torch.cat([logits, logits_of((0.2499, 0.2499, 0.2501, 0.2501)).float()])
    classes = torch.tensor([0, 1, 3])
    found = expected_calibration_error(logits, classes, bins=4)
    # Bins 1 (two rows, one right) and 2 (one row, wrong).
    assert found == pytest.approx((abs(1 - 0.5) + 0.2501) / 3, abs=1e-4)


def test_the_brier_score_is_the_squared_distance_from_the_truth() -> None:
    logits = logits_of((0.7, 0.2, 0.1), (0.1, 0.1, 0.8))
    first = 0.3**2 + 0.2**2 + 0.1**2
    second = 0.1**2 + 0.9**2 + 0.8**2
    found = brier_score(logits, torch.tensor([0, 1]))
    assert found == pytest.approx((first + second) / 2)


def test_guessing_has_a_brier_score_of_one_less_its_probability() -> None:
    assert brier_score(torch.zeros(3, 10), torch.tensor([1, 5, 9])) == pytest.approx(0.9)
    sure = torch.tensor([[100.0, 0.0]])
    assert brier_score(sure, torch.tensor([1])) == pytest.approx(2.0)
    assert math.isclose(expected_calibration_error(sure, torch.tensor([1])), 1.0)
