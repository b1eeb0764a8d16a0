"""Batches sorted by class: the plan, batches composed as in training, and the report."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.errors import SpecRefused
from model.lab.class_sorted_batches.experiment import BATCH, EXPERIMENT, RENORM, ROLES
from model.lab.class_sorted_batches.modes import Modes, composed, of_modes
from model.lab.compare import Outcome
from model.lab.errors import held_out, in_eval
from model.lab.results import Results
from tests.laboratory import asked, one_test_row, report_of, results_of

SMALL = {"hidden": [20], "steps": 40}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    planned = EXPERIMENT.plan(asked(EXPERIMENT, **SMALL), (0, 1))
    return results_of(planned, tmp_path_factory.mktemp("sorted"))


def test_the_plan_has_every_norm_on_sorted_batches_and_sound_twins() -> None:
    planned = EXPERIMENT.plan(asked(EXPERIMENT), (0, 1))
    assert [one.arm for one in planned[:5]] == list(ROLES)
    assert [one.spec.sampling for one in planned[:5]] == ["class_sorted"] * 3 + ["permutation"] * 2
    batch, renorm = planned[0].spec, planned[1].spec
    assert batch == renorm.model_copy(update={"norm": batch.norm})
    assert batch == planned[3].spec.model_copy(update={"sampling": "class_sorted"})


def test_the_schedule_of_renorm_is_that_of_3_000_steps_in_proportion() -> None:
    renorm = EXPERIMENT.plan(asked(EXPERIMENT), (0,))[1].spec.norm.model_dump()
    ramps = (renorm["warmup_batches"], renorm["r_ramp_batches"], renorm["d_ramp_batches"])
    assert ramps == (300, 2_100, 1_200)  # reached at 2,400 and at 1,500
    short = EXPERIMENT.plan(asked(EXPERIMENT, steps=100), (0,))[1].spec.norm.model_dump()
    assert (short["warmup_batches"], short["r_ramp_batches"]) == (10, 70)


def test_test_batches_are_composed_as_those_of_training(results: Results) -> None:
    for arm, few, many in ((BATCH, 1, 3), ("batch, shuffled", 6, 10)):
        (run, _) = results.of(arm)
        part = held_out(results.start(run))
        assert part.classes is not None
        batches = composed(part, run.spec)
        assert {len(batch) for batch in batches} == {32, 32 + len(part) % 32}
        held = [len(part.classes[batch].unique()) for batch in batches]
        assert few <= min(held) <= max(held) <= many
        again = composed(part, run.spec)
        assert all(torch.equal(one, two) for one, two in zip(batches, again, strict=True))


def test_the_effect_is_the_difference_of_test_accuracy_in_eval_mode(results: Results) -> None:
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), results)
    by_hand = []
    for seed in (0, 1):
        errors = []
        for arm in (RENORM, BATCH):
            loaded = results.trained(results.of(arm)[seed])
            assert loaded is not None
            part = held_out(results.start(results.of(arm)[seed]))
            errors.append(in_eval(loaded.network, part, 100))
        by_hand.append(errors[1] - errors[0])
    assert [one.value for one in report.effect.seeds] == pytest.approx(by_hand)
    assert [len(table.rows) for table in report.tables] == [5] * 4
    assert [figure.name for figure in report.figures] == ["modes", "accuracy"]
    assert len(report.others) == 5
    assert {tuple(proof["differ_in"]) for proof in report.factors} == {("norm",), ("sampling",)}
    assert all(proof["same_start"] for proof in report.factors)
    assert all(proof["same_order"] for proof in report.factors if proof["differ_in"] == ["norm"])
    assert not any("do not see the same rows" in caveat for caveat in report.caveats)


def test_layer_norm_answers_alike_in_both_modes(results: Results) -> None:
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), results)
    rows = {table.name: {row[0]: row[1:] for row in table.rows} for table in report.tables}
    arm = "layer, sorted by class"
    assert rows["eval-train"][arm] == pytest.approx(rows["training-train"][arm], abs=3)


def test_the_same_runs_give_the_same_report(results: Results) -> None:
    params = asked(EXPERIMENT, **SMALL)
    assert EXPERIMENT.report(params, results) == EXPERIMENT.report(params, results)


def test_a_diverged_run_gets_nothing_right_and_has_no_gap(results: Results) -> None:
    run = replace(results.of(BATCH)[0], outcome="diverged", step=7)
    modes = {(BATCH, 0): Modes(90.0, 95.0, 91.0, 99.0)}
    assert of_modes(modes, "eval_test")(run) == Outcome(
        0.0, f"{BATCH} diverged at step 7", diverged=True
    )
    gap = of_modes(modes, "gap_train")(run)
    assert (gap.value, gap.note) == (None, f"{BATCH} diverged at step 7")
    assert of_modes(modes, "gap_train")(results.of(BATCH)[0]).value == 8.0
    assert of_modes({}, "eval_test")(results.of(BATCH)[0]).note == f"{BATCH} has no checkpoint"


def test_a_run_that_diverged_is_named_and_a_failed_one_left_out(results: Results) -> None:
    runs = [
        replace(run, outcome="diverged") if run.arm == BATCH else run
        for run in results.runs
        if run.seed == 0
    ]
    runs[1] = replace(runs[1], state="cancelled", outcome=None)
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(tuple(runs)))
    assert (report.effect.n, report.effect.verdict) == (0, "inconclusive")
    told = " ".join(report.caveats)
    assert f"nothing right, and as no gap between modes: {BATCH}, seed 0" in told


def test_one_test_row_has_no_accuracy_in_training_mode(tmp_path: Path) -> None:
    params = SMALL | {"dataset": one_test_row("wine", tmp_path)}
    report, _ = report_of(EXPERIMENT, tmp_path, (0, 1), **params)
    tables = {table.name: table for table in report.tables}
    assert all(row[1:] == (None, None, None) for row in tables["training-test"].rows)
    assert f"seed 0: {BATCH}: one row has no batch statistics" in tables["training-test"].note
    assert all(None not in row for row in tables["eval-test"].rows)
    assert [figure.name for figure in report.figures] == ["modes", "accuracy"]


def test_regression_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(SpecRefused, match="cross_entropy needs classes"):
        report_of(EXPERIMENT, tmp_path, (0,), dataset="gaussian_linear", steps=10)


def test_no_run_at_all_is_a_report_without_figures() -> None:
    report = EXPERIMENT.report(asked(EXPERIMENT), Results(()))
    assert (report.effect.verdict, report.figures) == ("inconclusive", ())
