"""The experiment on saturation: its closed forms, its plan and what it makes of real runs."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy.stats import norm

from model.errors import SpecRefused
from model.lab.ends import ends
from model.lab.factors import differing
from model.lab.report import Report
from model.lab.results import NO_LIMITS, Results
from model.lab.saturation.arms import Params
from model.lab.saturation.closed_form import EDGE, share_of_batch, share_of_normal, share_of_rows
from model.lab.saturation.experiment import EXPERIMENT
from model.plan import check
from tests.laboratory import asked, report_of

SEEDS = (0, 1)
SMALL = {"dataset": "two_class_500", "units": 10, "steps": 20, "fan_in": 30}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Results]:
    return report_of(EXPERIMENT, tmp_path_factory.mktemp("saturation"), SEEDS, **SMALL)


# Closed forms


@pytest.mark.parametrize(("fan_in", "share"), [(1, 0.0081), (30, 0.629), (500, 0.906)])
def test_the_closed_form_is_the_normal_tail_beyond_atanh(fan_in: int, share: float) -> None:
    expected = 2 * norm.sf(math.atanh(0.99) / math.sqrt(fan_in))
    assert share_of_normal(math.sqrt(fan_in)) == pytest.approx(expected, rel=1e-12)
    assert share_of_normal(math.sqrt(fan_in)) == pytest.approx(share, abs=5e-4)


def test_a_unit_that_gets_nothing_is_not_saturated() -> None:
    assert share_of_normal(0.0) == 0.0


@pytest.mark.parametrize("rows", [8, 32, 1_000])
def test_normalized_values_of_few_rows_are_saturated_as_often_as_drawn_ones(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2_000_000 // rows, rows, generator=generator, dtype=torch.float64)
    normalized = (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True)
    drawn = float((normalized.abs() > EDGE).double().mean())
    assert share_of_batch(rows) == pytest.approx(drawn, abs=3e-4)


def test_a_batch_of_three_can_have_no_saturated_value() -> None:
    # The largest that (z - mean) / deviation can be is (n - 1) / sqrt(n): 1.15 of three.
    assert [share_of_batch(rows) for rows in (1, 2, 3)] == [0.0, 0.0, 0.0]


def test_the_form_of_the_rows_is_what_many_drawn_weights_give() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(7, 12, generator=generator, dtype=torch.float64) * 3
    w = torch.randn(12, 400_000, generator=generator, dtype=torch.float64)
    drawn = float(((x @ w).abs() > EDGE).double().mean())
    assert share_of_rows(x) == pytest.approx(drawn, abs=1e-3)


# Plan


def test_the_plan_is_the_posts_network_with_its_own_conventions() -> None:
    plan = EXPERIMENT.plan(Params(), (0, 1, 2))
    assert len(plan) == 12
    by_arm = {run.arm: run.spec for run in plan if run.seed == 0}
    assert list(by_arm) == ["none", "batch", "none, fan-in 30", "batch, fan-in 30"]
    batch = by_arm["batch"]
    assert batch.norm.model_dump() == {
        "kind": "batch",
        "momentum": 0.001,
        "eps": 0.0,
        "affine": True,
        "placement": "before_activation",
        "running": "deviation",
        "normalize": "unbiased",
    }
    assert (batch.batch_size, batch.sampling) == (32, "with_replacement")
    assert (batch.init.kind, batch.init.bias, batch.scaling) == ("normal", "normal", "none")
    assert differing(by_arm["none"], batch) == ["norm"]
    assert differing(by_arm["none, fan-in 30"], by_arm["batch, fan-in 30"]) == ["norm"]


def test_without_a_second_fan_in_there_are_two_arms() -> None:
    arms = [run.arm for run in EXPERIMENT.plan(Params(fan_in=None), (0,))]
    assert arms == ["none", "batch"]


def test_a_fan_in_of_more_features_than_there_are_is_refused(make_facts) -> None:
    plan = EXPERIMENT.plan(Params(dataset="wine"), (0,))
    with pytest.raises(SpecRefused, match="30"):
        check(plan[-1].spec, make_facts((13,), outputs=3), NO_LIMITS)


def test_batches_of_two_are_refused_for_two_equal_draws_have_no_deviation() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 3"):
        Params(batch_size=2)


def test_images_are_flattened_for_both_networks(make_facts) -> None:
    facts = make_facts((1, 8, 8))
    for run in EXPERIMENT.plan(Params(dataset="x"), (0,)):
        assert check(run.spec, facts, NO_LIMITS).plan.parameters > 0


# Report


def test_saturated_and_dead_are_judged_apart(found: tuple[Report, Results]) -> None:
    report, _ = found
    by_name = {one.declared.name: one for one in (report.effect, *report.others)}
    assert report.effect.verdict == "supports"
    assert report.effect.value == pytest.approx(89.8, abs=2)
    dead = by_name["dead units before the first step: none - batch"]
    assert (dead.value, dead.verdict) == (0.0, "contradicts")
    assert "Saturated is not dead" in report.summary


def test_every_arm_starts_near_its_closed_form(found: tuple[Report, Results]) -> None:
    report, _ = found
    (table,) = [one for one in report.tables if one.name == "closed-forms"]
    assert len(table.rows) == 2 * 4
    for arm, _, measured, form, of_rows, *_ in table.rows:
        is_normed = str(arm).startswith("batch")
        assert measured == pytest.approx(form, abs=0.1 if is_normed else 4)
        assert (of_rows is None) == is_normed


def test_what_is_seen_at_the_ends_is_what_the_run_measured(found: tuple[Report, Results]) -> None:
    report, results = found
    rows = [row for row in report.tables[0].rows if row[:2] == ("none", 0)]
    (run,) = [one for one in results.of("none") if one.seed == 0]
    measured = run.series["saturation.saturated.1"].values
    assert [row[2] for row in rows] == ["start", "end"]
    assert [row[4] for row in rows] == pytest.approx([100 * measured[0], 100 * measured[-1]])


def test_arms_are_proven_to_differ_in_the_norm_alone(found: tuple[Report, Results]) -> None:
    report, _ = found
    assert len(report.factors) == 4
    for proof in report.factors:
        assert (proof["differ_in"], proof["same_order"], proof["same_start"]) == (
            ["norm"],
            True,
            True,
        )


def test_the_map_has_a_row_for_each_example_of_a_mini_batch(found: tuple[Report, Results]) -> None:
    report, _ = found
    assert [one.name for one in report.figures] == ["map", "inputs", "over-time"]
    for panel in report.figures[0].panels:
        assert (len(panel.values), len(panel.values[0])) == (32, 10)
    dark = [sum(map(sum, panel.values)) / (32 * 10) for panel in report.figures[0].panels]
    assert dark[0] < 0.2 < 0.95 < dark[1]  # without norm, with it


def test_the_report_is_the_same_again(found: tuple[Report, Results]) -> None:
    report, results = found
    again = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), results)
    assert (again.effect, again.tables, again.summary) == (
        report.effect,
        report.tables,
        report.summary,
    )


def test_runs_that_failed_are_left_out(found: tuple[Report, Results]) -> None:
    _, results = found
    lost = [
        replace(run, state="failed", outcome=None, why="lost") if run.seed == 1 else run
        for run in results.runs
    ]
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(tuple(lost)))
    assert (report.effect.n, report.effect.verdict) == (1, "inconclusive")


def test_without_any_run_there_is_no_verdict() -> None:
    report = EXPERIMENT.report(Params(), Results(()))
    assert (report.effect.n, report.effect.verdict) == (0, "inconclusive")
    assert report.figures == ()


def test_a_run_that_diverged_is_seen_as_it_was_kept_and_says_so(
    found: tuple[Report, Results],
) -> None:
    _, results = found
    runs = [
        replace(run, outcome="diverged", step=7) if run.arm == "none" else run
        for run in results.runs
    ]
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(tuple(runs)))
    assert "none diverged at step 7" in report.others[0].seeds[0].note
    told = "Diverged, and looked at after training as it was last kept: none, seed 0"
    assert told in " ".join(report.caveats)
    assert report.effect == found[0].effect


def test_a_network_that_is_not_finite_says_nothing(tmp_path: Path) -> None:
    report, _ = report_of(
        EXPERIMENT, tmp_path, (0,), dataset="wine", fan_in=None, units=5, steps=5, rate=1e5
    )
    assert report.effect.verdict == "inconclusive"  # one seed


def test_both_ends_are_seen_in_training_mode(found: tuple[Report, Results]) -> None:
    _, results = found
    run = results.of("batch")[0]
    first, last = ends(results, run)
    assert (first.when, first.step, last.when, last.step) == ("start", 0, "end", 20)
    assert first.network.training
    assert last.network.training
    assert all(one.requires_grad for one in last.network.parameters())
