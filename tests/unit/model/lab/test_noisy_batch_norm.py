"""Batch norm with noise behind it: the plan, what is compared, and the report."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from model.errors import SpecRefused
from model.lab.drift import drift
from model.lab.noisy_batch_norm.experiment import EXPERIMENT
from model.lab.noisy_batch_norm.plan import NoisyParams
from model.lab.noisy_batch_norm.stability import num_layers, one_unit, unit_means
from model.lab.report import Report
from model.lab.results import Measured, Results, RunResult, Series
from tests.laboratory import asked, report_of

SMALL: dict[str, Any] = {
    "lr": [0.5],
    "hidden": [20, 20],
    "steps": 60,
    "window": [20, 60],
    "evaluate_every": 20,
}
MEANS = {"none, lr 0.5": 0.3, "batch, lr 0.5": 0.9, "noisy_batch, lr 0.5": 0.8}


def changed(run: RunResult, **fields: Any) -> RunResult:
    return RunResult(**{**vars(run), **fields})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Results]:
    return report_of(EXPERIMENT, tmp_path_factory.mktemp("noisy"), (0, 1), **SMALL)


def test_the_plan_has_four_arms_that_differ_in_the_norm_alone() -> None:
    planned = EXPERIMENT.plan(asked(EXPERIMENT), (0, 1))
    assert len(planned) == 16
    specs = {one.arm: one.spec for one in planned if one.seed == 0}
    assert list(specs)[:4] == [
        "none, lr 0.5",
        "batch, lr 0.5",
        "noisy_batch, lr 0.5",
        "noise, lr 0.5",
    ]
    first, *others = (specs[arm] for arm in list(specs)[:4])
    assert all(one.model_copy(update={"norm": first.norm}) == first for one in others)
    assert first.network.model_dump()["hidden"] == (100,) * 8
    assert (first.scaling, first.batch_size, first.init.kind) == ("binary", 60, "xavier_normal")


def test_both_noisy_arms_have_the_same_noise() -> None:
    planned = EXPERIMENT.plan(asked(EXPERIMENT, n_mu=1.0, r_sigma=0.3), (0,))
    noises = [one.spec.norm.model_dump() for one in planned[2:4]]
    assert [(one["kind"], one["n_mu"], one["n_sigma"], one["r_sigma"]) for one in noises] == [
        ("noisy_batch", 1.0, 1.25, 0.3),
        ("noise", 1.0, 1.25, 0.3),
    ]


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"window": [50, 3_000]}, "window"),
        ({"window": [51, 59]}, "window"),
        ({"window": [300, 50]}, "window"),
        ({"scale": "paper"}, "dataset"),
        ({"scale": "paper", "dataset": "my-cifar", "hidden": [10]}, "hidden"),
    ],
)
def test_what_does_not_fit_together_is_refused(params: dict[str, Any], path: str) -> None:
    with pytest.raises(SpecRefused) as caught:
        EXPERIMENT.plan(asked(EXPERIMENT, **params), (0,))
    assert caught.value.path == path


def test_a_rate_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="every value may be there once"):
        NoisyParams.model_validate({"lr": [0.1, 0.1]})


def test_the_published_setting_is_a_vgg_for_15_000_steps() -> None:
    planned = EXPERIMENT.plan(asked(EXPERIMENT, scale="paper", dataset="my-cifar"), (0,))
    spec = planned[0].spec
    assert (spec.network.kind, spec.batch_size, spec.budget.steps) == ("vgg", 128, 15_000)


def test_effects_are_points_of_accuracy_seed_by_seed(trained: tuple[Report, Results]) -> None:
    _, results = trained
    flat = [
        changed(run, series={"test_accuracy": Series((20, 40, 60), (MEANS[run.arm],) * 3)})
        for run in results.runs
        if run.arm in MEANS
    ]
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(tuple(flat)))
    assert report.effect.value == pytest.approx(50.0)
    assert report.effect.verdict == "supports"
    assert report.others[0].value == pytest.approx(20.0)  # 80 less (30 + 90) / 2
    assert (report.others[2].n, report.others[2].verdict) == (0, "inconclusive")  # no noise arm


def test_the_drift_goes_over_the_units_of_all_layers(trained: tuple[Report, Results]) -> None:
    probes = (
        Measured(20, {"layers": [{"input_mean": [0.0, None]}, {"input_mean": [5.0]}]}),
        Measured(40, {"layers": [{"input_mean": [2.0, 1.0]}, {"input_mean": [5.0]}]}),
        Measured(60, {"unreadable": "not finite"}),
    )
    run = changed(trained[1].runs[0], measured={"moments": probes})
    assert drift(unit_means(), 0)(run).value == pytest.approx(0.5)
    assert drift(unit_means(0), 0)(run).value == pytest.approx(1.0)
    assert num_layers(run) == 2


def test_a_small_experiment_reports_every_figure_and_proves_its_factor(
    trained: tuple[Report, Results],
) -> None:
    report, _ = trained
    assert [one.name for one in report.figures] == ["accuracy", "drift", "one-unit", "ridges"]
    assert all(one["same_start"] and one["same_order"] for one in report.factors)
    assert {tuple(one["differ_in"]) for one in report.factors} == {("norm",)}
    assert len(report.factors) == 6
    assert report.effect.n == 2
    assert report.others[-2].value is not None
    assert report.others[-2].value > 2  # the noise moves what batch norm keeps in its place


def test_a_report_is_the_same_when_it_is_made_again(trained: tuple[Report, Results]) -> None:
    report, results = trained
    torch.manual_seed(5)
    assert EXPERIMENT.report(asked(EXPERIMENT, **SMALL), results) == report


def test_one_unit_is_seen_at_the_start_and_at_every_checkpoint(
    trained: tuple[Report, Results],
) -> None:
    _, results = trained
    run = results.of("batch, lr 0.5")[0]
    before = torch.random.get_rng_state()
    found = list(one_unit(results, run, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert [step for step, _ in found] == [0, 15, 30, 45, 60]
    start = found[0][1]
    assert start.mean == pytest.approx(0.0, abs=1e-5)  # behind a batch norm that has not learned
    assert start.sd == pytest.approx(1.0, abs=1e-3)


def test_a_run_that_diverged_is_named_and_a_failed_one_left_out(
    trained: tuple[Report, Results],
) -> None:
    _, results = trained
    nan = {"test_accuracy": Series((20,), (math.nan,))}
    ended = {
        "none, lr 0.5": {"outcome": "diverged", "step": 20, "series": nan, "measured": {}},
        "batch, lr 0.5": {"state": "cancelled", "outcome": None},
    }
    runs = [changed(run, **ended.get(run.arm, {})) for run in results.runs]
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(tuple(runs)))
    assert [one.note for one in report.effect.seeds] == ["none, lr 0.5 diverged at step 20"] * 2
    told = " ".join(report.caveats)
    assert "none, lr 0.5, seed 0; none, lr 0.5, seed 1." in told


def test_without_any_run_at_the_first_rate_no_unit_is_drawn(
    trained: tuple[Report, Results],
) -> None:
    _, results = trained
    lost = [changed(run, state="cancelled", outcome=None) for run in results.runs]
    others = [changed(run, arm=run.arm.replace("0.5", "0.1")) for run in results.runs]
    params = asked(EXPERIMENT, **SMALL | {"lr": [0.5, 0.1]})
    report = EXPERIMENT.report(params, Results((*lost, *others)))
    assert [one.name for one in report.figures] == ["accuracy", "drift"]


def test_probes_of_runs_that_do_not_count_draw_nothing(trained: tuple[Report, Results]) -> None:
    _, results = trained
    counted = changed(results.of("none, lr 0.5")[0], measured={})
    lost = (changed(run, state="failed", outcome=None) for run in results.of("batch, lr 0.5"))
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results((counted, *lost)))
    assert [one.name for one in report.figures] == ["accuracy"]


def test_no_run_at_all_is_a_report_without_figures() -> None:
    report = EXPERIMENT.report(asked(EXPERIMENT), Results(()))
    assert (report.effect.verdict, report.figures) == ("inconclusive", ())
