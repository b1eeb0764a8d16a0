"""Numbers of runs, and arms compared seed by seed."""

import math
from typing import Any

import pytest

from model.lab.bands import band
from model.lab.compare import last, mean_between, paired, steps_to
from model.lab.results import Results, RunResult, Series
from model.lab.verdict import Declared
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


def test_a_last_value_that_is_not_finite_is_the_worst() -> None:
    assert last("test_accuracy", worst=0.0)(run("none", 0, {10: math.nan})).value == 0.0


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
