"""Steps per second over a sliding window."""

import pytest

from worker.pace import Pace


def test_the_first_report_has_no_rate() -> None:
    assert Pace().rate(10, 100.0) is None


def test_the_rate_is_steps_over_seconds_since_the_first_report() -> None:
    pace = Pace()
    pace.rate(10, 100.0)
    assert pace.rate(30, 102.0) == pytest.approx(10.0)


def test_old_reports_leave_the_window() -> None:
    pace = Pace()
    for second in range(100):
        step = second * (1 if second < 50 else 5)
        rate = pace.rate(step, float(second))
    assert rate == pytest.approx(5.0)


def test_a_clock_that_stands_still_gives_no_rate() -> None:
    pace = Pace()
    pace.rate(1, 5.0)
    assert pace.rate(2, 5.0) is None
