"""Medians over the steps of a run, and what a run stands for that has none."""

from math import inf, nan
from typing import Any

import pytest

from model.lab.compare import Outcome, paired
from model.lab.results import Results, RunResult, Series
from model.lab.typical import known, largest_size, typical_angle, typical_size
from model.lab.verdict import Declared
from model.spec import RunSpec

RATIO = Declared("shift", "", "ratio", "above", 3.0)
SPEC = RunSpec.model_validate({"dataset": "digits", "network": {"kind": "mlp"}})


def run(values: dict[int, float], **fields: Any) -> RunResult:
    told: dict[str, Any] = {
        "arm": "none",
        "seed": 0,
        "spec": SPEC,
        "state": "succeeded",
        "outcome": "completed",
        "why": None,
        "step": max(values, default=0),
        "dataset": "",
        "series": {"shift": Series(tuple(values), tuple(values.values()))} if values else {},
        "measured": {},
        "checkpoints": (),
    }
    return RunResult(**{**told, **fields})


def test_a_median_and_a_largest_value_are_of_the_steps_asked_for() -> None:
    one = run({0: 9.0, 10: 1.0, 20: 3.0, 30: 2.0, 40: 8.0})
    assert known(one, "shift", (10, 30)) == [1.0, 3.0, 2.0]
    assert typical_size("shift", (10, 30))(one) == Outcome(2.0)
    assert largest_size("shift", (10, 30))(one) == Outcome(3.0)
    assert typical_angle("shift")(one) == Outcome(3.0)


def test_what_is_not_finite_is_infinite_and_seldom_enough_no_matter() -> None:
    assert typical_size("shift")(run({0: 1.0, 1: nan, 2: 2.0})) == Outcome(2.0)
    found = largest_size("shift")(run({0: 1.0, 1: inf, 2: 2.0}))
    assert found == Outcome(2.0, "none has an infinite shift", "at least", diverged=True)
    assert typical_size("shift")(run({0: nan, 1: inf, 2: 2.0})).bound == "at least"
    assert typical_size("shift")(run({0: nan})).value is None


def test_a_run_that_diverged_within_the_steps_is_a_bound() -> None:
    diverged = run({0: 1.0, 10: 5.0}, outcome="diverged", step=12)
    found = typical_size("shift")(diverged)
    assert found == Outcome(5.0, "none diverged at step 12", "at least", diverged=True)
    assert typical_size("shift", (0, 10))(diverged) == Outcome(3.0)
    assert typical_angle("shift")(diverged) == Outcome(
        -1.0, "none diverged at step 12", diverged=True
    )


@pytest.mark.parametrize("values", [{0: 0.5, 10: 0.25}, {0: nan}, {}])
def test_a_size_of_a_run_that_diverged_stands_for_the_largest_that_any_run_had(
    values: dict[int, float],
) -> None:
    """Its own last ones may be tiny, and it would be the better for having diverged."""
    told = {"outcome": "diverged", "step": 12}
    results = Results(
        (
            run(values, **told),
            run({0: 1.0}, seed=1),
            run({0: 1.0, 10: 2.0, 20: 9.0}, arm="batch"),
            run({0: 1.0}, arm="batch", seed=1),
            run({0: 11.0, 10: 1.0, 20: 2.0}, arm="batch", seed=2),
        )
    )
    (one, _) = paired(results, RATIO, "none", "batch", typical_size("shift"))
    assert (one.value, one.bound) == (11.0 / 2.0, "at least")
    assert one.note == "none diverged at step 12: at least this"


def test_a_size_without_any_finite_one_is_no_number_and_says_so() -> None:
    told = {"outcome": "diverged", "step": 12}
    results = Results((run({0: nan}, **told), run({0: inf}, arm="batch")))
    (one,) = paired(results, RATIO, "none", "batch", typical_size("shift"))
    assert one.value is None
    assert one.note == (
        "none diverged at step 12, and no run has a finite one; "
        "batch has an infinite shift, and no run has a finite one"
    )


def test_an_angle_is_left_out_where_a_gradient_is_0() -> None:
    assert typical_angle("shift")(run({0: nan, 1: 0.5, 2: nan})) == Outcome(0.5)
    assert typical_angle("shift")(run({0: nan})).value is None


def test_a_run_without_the_metric_says_nothing() -> None:
    assert typical_size("shift")(run({})) == Outcome(None, "none has no shift")
    assert typical_size("other")(run({0: 1.0})) == Outcome(None, "none has no other")
