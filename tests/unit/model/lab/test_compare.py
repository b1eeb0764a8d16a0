"""Numbers of runs, and arms compared seed by seed."""

import math
from typing import Any

import pytest

from model.lab.bands import band
from model.lab.compare import Of, Outcome, compared, last, mean_between, paired, steps_to
from model.lab.results import Results, RunResult, Series
from model.lab.verdict import Bound, Declared
from model.spec import RunSpec

SPEC = RunSpec.model_validate({"dataset": "digits", "network": {"kind": "mlp"}})
RATIO = Declared("steps", "", "ratio", "below", 3.0)
DIFFERENCE = Declared("points", "points", "difference", "above", 1.0)


def run(arm: str, seed: int, values: dict[int, float], **fields: Any) -> RunResult:
    told = {"state": "succeeded", "outcome": "completed", "why": None, "step": max(values)}
    series = {"test_accuracy": Series(tuple(values), tuple(values.values()))}
    rest = {"dataset": "", "series": series, "measured": {}, "checkpoints": ()}
    return RunResult(arm=arm, seed=seed, spec=SPEC, **{**told, **rest, **fields})


def test_arms_are_paired_by_seed_and_only_runs_that_count() -> None:
    results = Results(
        (
            run("batch", 1, {10: 0.9}),
            run("batch", 0, {10: 0.8}),
            run("batch", 2, {10: 0.7}),
            run("none", 0, {10: 0.5}),
            run("none", 1, {10: 0.4}, state="failed", outcome=None),
            run("none", 2, {10: 0.1}),
        )
    )
    found = paired(results, DIFFERENCE, "batch", "none", last("test_accuracy", worst=0.0))
    assert [(one.seed, one.value) for one in found] == [
        (0, pytest.approx(0.3)),
        (2, pytest.approx(0.6)),
    ]


def test_a_diverged_run_is_the_worst_and_says_so() -> None:
    diverged = run("none", 0, {10: 0.9}, outcome="diverged", step=12)
    found = last("test_accuracy", worst=0.0)(diverged)
    assert (found.value, found.note) == (0.0, "none diverged at step 12")


def test_a_last_value_that_is_not_finite_is_the_worst_and_not_called_diverged() -> None:
    found = last("test_accuracy", worst=0.0)(run("none", 0, {10: math.nan}))
    assert found == Outcome(0.0, "none ends with a test_accuracy that is not finite", diverged=True)


def test_the_worst_of_a_loss_is_a_bound() -> None:
    diverged = run("none", 0, {10: 0.9}, outcome="diverged", step=12)
    assert last("test_accuracy", 2.5, "at least")(diverged).bound == "at least"
    assert mean_between("test_accuracy", 0, 20, 2.5, "at least")(diverged).bound == "at least"
    completed = run("none", 0, {10: 0.9})
    assert last("test_accuracy", 2.5, "at least")(completed).bound == ""
    assert mean_between("test_accuracy", 0, 10, 2.5, "at least")(completed).bound == ""
    partly = run("none", 0, {10: 0.5, 20: math.inf})
    assert mean_between("test_accuracy", 0, 20, 2.5, "at least")(partly) == Outcome(
        1.5, "none has a test_accuracy that is not finite", "at least"
    )


@pytest.mark.parametrize(
    "of", [last("test_accuracy", worst=0.0), mean_between("test_accuracy", 0, 20, worst=0.0)]
)
def test_two_diverged_runs_are_no_pair(of: Of) -> None:
    """Both are the worst, of which nothing follows: least of all that the arms are alike."""
    told = {"outcome": "diverged", "step": 12}
    batch, none = (run(arm, 0, {10: 0.9}, **told) for arm in ("batch", "none"))
    (one,) = paired(Results((batch, none)), DIFFERENCE, "batch", "none", of)
    assert one.value is None
    assert one.note == "batch diverged at step 12; none diverged at step 12"


@pytest.mark.parametrize(
    ("first", "second", "bound"),
    [
        ("", "", ""),
        ("at least", "", "at least"),
        ("", "at least", "at most"),
        ("at most", "", "at most"),
        ("", "at most", "at least"),
        ("at least", "at most", "at least"),
    ],
)
def test_what_is_a_bound_of_one_side_is_one_of_the_pair(
    first: Bound, second: Bound, bound: str
) -> None:
    one, two = Outcome(4.0, bound=first), Outcome(2.0, bound=second)
    for declared in (DIFFERENCE, RATIO):
        found = compared(declared, 0, one, two)
        assert (found.value, found.bound) == (2.0, bound)


@pytest.mark.parametrize("declared", [DIFFERENCE, RATIO])
def test_arms_too_far_apart_for_a_number_have_the_largest_or_smallest(declared: Declared) -> None:
    huge, little = Outcome(1.7e308), Outcome(1e-308 if declared.scale == "ratio" else -1.7e308)
    up, down = compared(declared, 0, huge, little), compared(declared, 0, little, huge)
    assert up.value == pytest.approx(math.exp(700))
    assert down.value == pytest.approx(
        math.exp(-700) if declared.scale == "ratio" else -math.exp(700)
    )


def test_a_run_that_never_arrives_stands_for_its_budget_as_a_bound() -> None:
    never = run("none", 0, {10: 0.2, 100: 0.3})
    early = run("batch", 0, {10: 0.9})
    found = steps_to("test_accuracy", 0.85, budget=100)
    assert (found(never).value, found(never).bound) == (100.0, "at least")
    results = Results((early, never))
    (one,) = paired(results, RATIO, "batch", "none", found)
    assert one.value == pytest.approx(0.1)
    assert one.note == "none never arrived in 100 steps: at most this"
    (other,) = paired(results, RATIO, "none", "batch", found)
    assert other.note == "none never arrived in 100 steps: at least this"


def test_a_metric_that_a_run_does_not_have_is_no_lower_bound() -> None:
    of = steps_to("validation_accuracy", 0.85, budget=100)
    found = of(run("none", 0, {100: 0.2}))
    assert (found.value, found.bound, found.note) == (None, "", "none has no validation_accuracy")
    diverged = of(run("none", 0, {100: 0.2}, outcome="diverged"))
    assert (diverged.value, diverged.bound) == (100.0, "at least")


def test_two_bounds_are_no_number() -> None:
    results = Results((run("batch", 0, {10: 0.1}), run("none", 0, {10: 0.2})))
    (one,) = paired(results, RATIO, "batch", "none", steps_to("test_accuracy", 0.85, 100))
    assert one.value is None
    assert "batch never arrived" in one.note
    assert "none never arrived" in one.note


def test_a_mean_over_steps_takes_every_point_in_between() -> None:
    of = mean_between("test_accuracy", 50, 300, worst=0.0)
    assert of(run("a", 0, {10: 9.0, 50: 0.2, 300: 0.6, 310: 9.0})).value == pytest.approx(0.4)
    assert of(run("a", 0, {50: 0.2, 300: math.nan})).value == pytest.approx(0.1)
    assert of(run("a", 0, {50: 0.2}, outcome="diverged", step=70)).value == 0.0
    assert of(run("a", 0, {10: 0.2})).value is None


def test_a_band_is_the_median_with_the_lowest_and_the_highest() -> None:
    runs = [run("a", s, {1: 0.1 * (s + 1), 2: 0.5}) for s in range(3)]
    curve = band(runs, "test_accuracy", "batch", "batch")
    assert list(curve.x) == [1, 2]
    assert list(curve.y) == [pytest.approx(0.2), 0.5]
    assert curve.low is not None
    assert curve.high is not None
    assert (curve.low[0], curve.high[0], curve.n) == (pytest.approx(0.1), pytest.approx(0.3), 3)


def test_a_band_is_a_gap_where_one_seed_has_no_number() -> None:
    runs = [run("a", 0, {1: 0.1, 2: 0.5}), run("a", 1, {1: 0.2})]
    curve = band(runs, "test_accuracy", "batch", "batch")
    assert math.isnan(curve.y[1])
    assert not math.isnan(curve.y[0])


def test_one_seed_has_no_band() -> None:
    curve = band([run("a", 0, {1: 0.1})], "test_accuracy", "batch", "batch")
    assert (curve.low, curve.high, curve.n) == (None, None, 1)
