"""Three sigmoid layers with and without batch norm: the plan, the drift and the report."""

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from model.errors import SpecRefused
from model.lab.drift import drift
from model.lab.ioffe_mnist.experiment import EXPERIMENT
from model.lab.ioffe_mnist.inputs import median, width
from model.lab.ioffe_mnist.plan import IoffeParams
from model.lab.results import Measured, Results, RunResult, Series
from tests.laboratory import asked, report_of, results_of

ONE = {"settings": [{"sigma": 0.1, "lr": 0.5}], "steps": 60, "evaluate_every": 20}


def measured(step: int, **levels: list[float | None]) -> Measured:
    return Measured(step, {"rows": 4, "layers": [{"layer": 3, **levels}]})


def run(arm: str, seed: int = 0, **fields: Any) -> RunResult:
    plan = EXPERIMENT.plan(asked(EXPERIMENT, **ONE), (seed,))
    told = {"state": "succeeded", "outcome": "completed", "why": None, "step": 60}
    rest = {"dataset": "", "series": {}, "measured": {}, "checkpoints": ()}
    return RunResult(arm=arm, seed=seed, spec=plan[0].spec, **{**told, **rest, **fields})


def test_the_plan_has_both_arms_of_every_setting_and_they_differ_in_the_norm() -> None:
    planned = EXPERIMENT.plan(asked(EXPERIMENT), (0, 1))
    assert [(one.arm, one.seed) for one in planned][:3] == [
        ("none, sigma 0.1, lr 0.1", 0),
        ("batch, sigma 0.1, lr 0.1", 0),
        ("none, sigma 0.1, lr 0.5", 0),
    ]
    assert len(planned) == 12
    none, batch = (one.spec for one in planned[:2])
    assert (none.norm.kind, batch.norm.kind) == ("none", "batch")
    assert none == batch.model_copy(update={"norm": none.norm})
    assert none.network.model_dump() == {
        "kind": "mlp",
        "hidden": (100, 100, 100),
        "activation": "sigmoid",
        "bias": True,
    }
    assert (none.scaling, none.batch_size, none.budget.steps) == ("binary", 60, 5_000)
    assert (none.init.kind, none.init.gain) == ("normal", 0.1)


def test_the_published_setting_is_50_000_steps_of_an_uploaded_dataset() -> None:
    planned = EXPERIMENT.plan(asked(EXPERIMENT, scale="paper", dataset="my-mnist"), (0,))
    assert {one.spec.budget.steps for one in planned} == {50_000}
    with pytest.raises(SpecRefused, match="upload it"):
        EXPERIMENT.plan(asked(EXPERIMENT, scale="paper"), (0,))


@pytest.mark.parametrize("again", [{"lr": 0.1}, {"sigma": 0.10000001}])
def test_a_setting_twice_is_refused(again: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="every value may be there once"):
        IoffeParams.model_validate({"settings": [{"sigma": 0.1}, again]})


def test_the_drift_is_the_deviation_over_time_averaged_over_units() -> None:
    found = (
        measured(0, p15=[9.0, 9.0], p50=[9.0, 9.0], p85=[9.0, 9.0]),
        measured(10, p15=[-1.0, 0.0], p50=[0.0, 1.0], p85=[1.0, 5.0]),
        measured(20, p15=[-1.0, 0.0], p50=[2.0, 1.0], p85=[1.0, 1.0]),
    )
    one = run("none", measured={"percentiles": found})
    assert drift(median, first=10)(one).value == pytest.approx(0.5)  # (1 + 0) / 2
    assert drift(width, first=10)(one).value == pytest.approx(1.0)  # (0 + 2) / 2


def test_units_without_a_number_and_unreadable_probes_are_left_out_of_the_drift() -> None:
    found = (
        measured(10, p15=[0.0, 0.0], p50=[0.0, None], p85=[0.0, 0.0]),
        Measured(15, {"unreadable": "not finite"}),
        measured(20, p15=[0.0, 0.0], p50=[2.0, 1.0], p85=[0.0, 0.0]),
    )
    assert drift(median, first=0)(run("none", measured={"percentiles": found})).value == 1.0
    nothing = drift(median, first=0)(run("none", measured={"percentiles": found[1:2]}))
    assert nothing.value is None


def test_a_run_that_diverged_has_drifted_at_least_as_far_as_was_seen() -> None:
    found = (
        measured(10, p15=[0.0], p50=[0.0], p85=[0.0]),
        measured(20, p15=[0.0], p50=[4.0], p85=[0.0]),
    )
    one = drift(median, first=0)(run("none", measured={"percentiles": found}, outcome="diverged"))
    assert (one.value, one.bound) == (2.0, "at least")


def test_a_small_experiment_reports_steps_drift_and_every_figure(tmp_path: Path) -> None:
    report, results = report_of(EXPERIMENT, tmp_path, (0, 1), **ONE, target=0.5)
    assert [figure.name for figure in report.figures] == ["accuracy", "percentiles", "drift"]
    assert report.effect.n == 2
    batch, none = (results.of(f"{arm}, sigma 0.1, lr 0.5") for arm in ("batch", "none"))
    steps = {run.seed: run.first_step("test_accuracy", 0.5) for run in batch}
    assert all(run.first_step("test_accuracy", 0.5) is None for run in none)
    for one in report.effect.seeds:
        assert one.value == pytest.approx((steps[one.seed] or 0) / 60)
        assert "at most this" in one.note
    assert [proof["same_start"] for proof in report.factors] == [True, True]
    assert [proof["differ_in"] for proof in report.factors] == [["norm"], ["norm"]]
    assert (
        report.effect.declared.name
        == "steps to 50 % test accuracy, sigma 0.1, lr 0.5: batch / none"
    )
    names = [one.declared.name.split(",")[0] for one in report.others]
    assert names == [
        "drift of the median of a sigmoid's input",
        "drift of the width of a sigmoid's input",
        "test accuracy at the end",
    ]


def test_a_start_smaller_than_the_first_is_held_against_guessing(tmp_path: Path) -> None:
    settings = [{"sigma": 0.1, "lr": 0.5}, {"sigma": 0.01, "lr": 0.1}]
    report, results = report_of(
        EXPERIMENT, tmp_path, (0, 1), settings=settings, steps=20, evaluate_every=20
    )
    effect = report.others[-1]
    assert "without norm, sigma 0.01, lr 0.1" in effect.declared.name
    for one, run_ in zip(effect.seeds, results.of("none, sigma 0.01, lr 0.1"), strict=True):
        highest = max(run_.series["test_accuracy"].values)
        guessing = float(one.note.rpartition(": ")[2].rstrip(" %"))
        assert one.value == pytest.approx(100 * highest - guessing - 5, abs=0.06)
    assert effect.verdict == "supports"


def test_a_run_that_diverged_is_named_and_of_a_failed_one_nothing_is_concluded(
    tmp_path: Path,
) -> None:
    planned = EXPERIMENT.plan(asked(EXPERIMENT, **ONE), (0,))
    none, batch = results_of(planned, tmp_path).runs
    nan = Series((60,), (math.nan,))
    broken = RunResult(**{**vars(none), "state": "failed", "outcome": None, "why": "no memory"})
    diverged = RunResult(
        **{**vars(batch), "outcome": "diverged", "series": {"test_accuracy": nan}, "measured": {}}
    )
    report = EXPERIMENT.report(asked(EXPERIMENT, **ONE), Results((broken, diverged)))
    assert report.effect.verdict == "inconclusive"
    assert report.effect.n == 0
    told = " ".join(report.caveats)
    assert "in drift as far as it was seen to go: batch, sigma 0.1, lr 0.5, seed 0." in told


def test_no_run_at_all_is_a_report_without_figures() -> None:
    report = EXPERIMENT.report(asked(EXPERIMENT), Results(()))
    assert (report.effect.verdict, report.figures) == ("inconclusive", ())
