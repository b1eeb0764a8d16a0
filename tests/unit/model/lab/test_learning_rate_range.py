"""Up to which learning rate networks train: the plan, and what is concluded from made-up runs."""

from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from model.errors import SpecRefused
from model.lab.factors import differing
from model.lab.learning_rate_range.experiment import EXPERIMENT, report
from model.lab.learning_rate_range.plan import arm_of, plan
from model.lab.learning_rate_range.reach import Reach
from model.lab.results import Results, RunResult, Series
from tests.laboratory import asked, report_of, results_of, without_test_rows

SMALL = {"hidden": [12, 12], "multipliers": [1.0, 1e6], "steps": 30}


@pytest.fixture(scope="module")
def params() -> Any:
    return asked(EXPERIMENT, **SMALL)


@pytest.fixture(scope="module")
def results(params: Any, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return results_of(plan(params, (0, 1)), tmp_path_factory.mktemp("runs"))


def test_both_networks_are_planned_at_every_rate_with_and_without_norm() -> None:
    found = plan(asked(EXPERIMENT), (0, 7))

    assert len(found) == 2 * 2 * 2 * 6
    assert len({(run.arm, run.seed) for run in found}) == len(found)
    assert {run.spec.seed for run in found} == {0, 7}
    rates = sorted({run.spec.optimizer.lr for run in found})
    assert rates == pytest.approx([0.1, 0.2, 0.5, 1, 3, 10])


def test_arms_of_one_rate_differ_in_the_norm_alone(params: Any) -> None:
    specs = {run.arm: run.spec for run in plan(params, (0,))}

    for activation in ("relu", "sigmoid"):
        arms = [specs[arm_of(activation, norm, 1.0)] for norm in ("none", "batch")]
        assert differing(*arms) == ["norm"]
        assert arms[0].network.activation == activation


@pytest.mark.parametrize(
    "wrong",
    [{"multipliers": [2.0, 1.0]}, {"multipliers": [1.0]}, {"hidden": []}, {"scale": "paper"}],
)
def test_params_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        asked(EXPERIMENT, **wrong)


def test_a_report_has_every_arm_and_seed(params: Any, results: Results) -> None:
    found = report(params, results)

    assert [one.seed for one in found.effect.seeds] == [0, 1]
    assert [len(table.rows) for table in found.tables] == [2, 4, 8]
    assert [one.name for one in found.figures] == [
        "accuracy-by-rate",
        "steps-by-rate",
        "training",
    ]
    assert len(found.factors) == 4
    assert all(one["differ_in"] == ["norm"] and one["same_start"] for one in found.factors)
    assert any("none, relu, x1000000, seed 0" in one for one in found.caveats)


def test_a_report_is_the_same_again(params: Any, results: Results) -> None:
    first = report(params, results)
    torch.manual_seed(3)

    assert repr(report(params, Results(results.runs))) == repr(first)


def test_guessing_is_the_share_of_the_most_frequent_class_among_test_rows(
    params: Any, results: Results
) -> None:
    classes = results.start(results.runs[0]).arrays.test.classes
    assert classes is not None
    counted = [int((classes == one).sum()) for one in range(10)]

    assert Reach(params, results, 0).guess == max(counted) / sum(counted)


def with_accuracies(results: Results, told: dict[tuple[str, float], list[float]]) -> Results:
    """The ReLU runs of seed 0 with these accuracies at steps 1, 2, ...; NaN at the end diverged."""
    by_arm = {run.arm: run for run in results.runs if run.seed == 0}
    runs: list[RunResult] = []
    for (norm, multiplier), values in told.items():
        series = {"test_accuracy": Series(tuple(range(1, len(values) + 1)), tuple(values))}
        diverged = values[-1] != values[-1]
        run = by_arm[arm_of("relu", norm, multiplier)]  # type: ignore[arg-type]
        outcome: Any = "diverged" if diverged else "completed"
        runs.append(replace(run, series=series, outcome=outcome))
    return Results(tuple(runs))


def test_the_largest_rate_is_that_of_a_run_which_ends_far_above_guessing(
    params: Any, results: Results
) -> None:
    told = {
        ("none", 1.0): [0.2, 0.8],
        ("none", 1e6): [0.9, 0.2],
        ("batch", 1.0): [0.9, 0.9],
        ("batch", 1e6): [0.5, 0.6],
    }
    reach = Reach(params, with_accuracies(results, told), 0)

    assert (reach.largest_rate("none").value, reach.largest_rate("none").bound) == (0.1, "")
    assert reach.largest_rate("batch").value == pytest.approx(1e5)
    assert reach.largest_rate("batch").bound == "at least"


def test_a_run_that_diverged_did_not_train_however_good_it_was(
    params: Any, results: Results
) -> None:
    told = {
        ("none", 1.0): [0.9, nan],
        ("none", 1e6): [nan],
        ("batch", 1.0): [0.9, 0.9],
        ("batch", 1e6): [0.1, 0.1],
    }
    reach = Reach(params, with_accuracies(results, told), 0)

    assert (reach.largest_rate("none").value, reach.largest_rate("none").bound) == (0.1, "at most")
    assert (reach.largest_rate("batch").value, reach.largest_rate("batch").bound) == (0.1, "")


def test_steps_are_counted_to_the_best_accuracy_without_norm_at_any_rate(
    params: Any, results: Results
) -> None:
    told = {
        ("none", 1.0): [0.2, 0.5, 0.7, 0.6],
        ("none", 1e6): [0.1, 0.1, 0.1, 0.1],
        ("batch", 1.0): [0.6, 0.6, 0.6, 0.8],
        ("batch", 1e6): [0.6, 0.7, 0.1, 0.1],
    }
    reach = Reach(params, with_accuracies(results, told), 0)

    assert reach.target == 0.7
    assert [reach.fewest_steps(norm).value for norm in ("none", "batch")] == [3, 2]
    assert reach.steps_at("batch", 1.0).value == 4
    assert (reach.steps_at("none", 1e6).value, reach.steps_at("none", 1e6).bound) == (
        30,
        "at least",
    )


def test_rates_that_one_arm_lacks_are_left_out_of_both(params: Any, results: Results) -> None:
    told = {
        ("none", 1.0): [0.2, 0.8],
        ("batch", 1.0): [0.9, 0.9],
        ("batch", 1e6): [0.9, 0.9],
    }
    reach = Reach(params, with_accuracies(results, told), 0)

    assert list(reach.runs("relu", "batch")) == [1.0]
    assert report(params, reach.results).effect.seeds[0].value is None  # both are bounds


def test_without_any_run_nothing_is_concluded(params: Any, results: Results) -> None:
    runs = tuple(replace(run, state="cancelled", outcome=None) for run in results.runs)

    found = report(params, Results(runs))

    assert (found.effect.n, found.effect.verdict, found.figures) == (0, "inconclusive", ())


def test_targets_that_are_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecRefused, match="cross_entropy needs classes"):
        report_of(EXPERIMENT, tmp_path, (0,), **SMALL, dataset="gaussian_linear")


def test_a_dataset_without_test_rows_is_said_to_have_no_accuracy(tmp_path: Path) -> None:
    params = asked(EXPERIMENT, **SMALL, dataset=without_test_rows("wine", tmp_path))
    results = results_of(plan(params, (0,)), tmp_path)

    found = report(params, results)

    assert (found.effect.n, found.figures) == (0, ())
    assert found.caveats[0].startswith("No run has a test accuracy")
