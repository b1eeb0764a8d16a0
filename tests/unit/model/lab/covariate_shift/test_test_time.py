"""Inputs that shift at test time."""

import numpy as np
import pytest

from model.lab.covariate_shift.test_time import Met, recovered, shifted


def test_strength_0_changes_nothing_and_strength_1_leaves_30_percent_of_the_contrast() -> None:
    rows = np.array([[0, 8, 16]], np.uint8)
    assert shifted(rows, 0.0, (0.0, 16.0)) == pytest.approx(rows)
    found = shifted(rows, 1.0, (0.0, 16.0))
    assert found == pytest.approx(np.array([[0.35 * 16, 0.5 * 16, 0.65 * 16]]))


def test_the_shift_grows_evenly_with_its_strength() -> None:
    rows = np.array([[-2.0, 1.0, 3.0]])
    none, half, full = (shifted(rows, strength, (-2.0, 3.0)) for strength in (0.0, 0.5, 1.0))
    assert half == pytest.approx((none + full) / 2)


def test_recovered_accuracy_is_in_points_and_of_networks_with_running_statistics() -> None:
    batch = Met(0, "batch", (0.9, 0.2), (0.9, 0.8), (), (), ())
    none = Met(0, "none", (0.9, 0.2), (), (), (), ())
    assert recovered([none, batch], "batch", 0).value == pytest.approx(60)
    assert recovered([none, batch], "none", 0).value is None
    assert recovered([none, batch], "batch", 1).value is None
