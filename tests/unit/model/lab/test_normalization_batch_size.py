"""Groups that are normalized together: the plan, the four errors, and the report."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from model.errors import SpecRefused
from model.lab.compare import Outcome
from model.lab.errors import held_out
from model.lab.normalization_batch_size.errors_of_run import Errors, look, of_error
from model.lab.normalization_batch_size.experiment import EXPERIMENT, PUBLISHED
from model.lab.results import Results
from tests.laboratory import asked, one_test_row, report_of, results_of

SMALL: dict[str, Any] = {
    "network": {"kind": "mlp", "hidden": [20], "activation": "relu"},
    "batch_size": 16,
    "groups": [16, 8, 2],
    "reference": 8,
    "steps": 40,
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    planned = EXPERIMENT.plan(asked(EXPERIMENT, **SMALL), (0, 1))
    return results_of(planned, tmp_path_factory.mktemp("groups"))


def test_the_plan_has_a_run_for_every_group_and_one_batch_size() -> None:
    planned = EXPERIMENT.plan(asked(EXPERIMENT), (0, 1))
    assert [one.arm for one in planned[:6]] == [f"groups of {2**k}" for k in (6, 5, 4, 3, 2, 1)]
    assert {one.spec.batch_size for one in planned} == {64}
    first, last = planned[0].spec, planned[5].spec
    assert first == last.model_copy(update={"norm": first.norm})


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"batch_size": 32}, "groups.0"),
        ({"reference": 24}, "reference"),
        ({"reference": 2}, "reference"),
    ],
)
def test_groups_that_do_not_fit_are_refused(params: dict[str, int], path: str) -> None:
    with pytest.raises(SpecRefused) as caught:
        EXPERIMENT.plan(asked(EXPERIMENT, **params), (0,))
    assert caught.value.path == path


@pytest.mark.parametrize("groups", [[2, 4], [4, 4], [4, 1], [4]])
def test_groups_that_do_not_fall_to_two_or_more_rows_are_refused(groups: list[int]) -> None:
    with pytest.raises(ValidationError):
        asked(EXPERIMENT, groups=groups)


def test_the_errors_are_those_of_eval_mode_and_of_groups_of_test_rows(results: Results) -> None:
    (run, _) = results.of("groups of 2")
    errors = look(results, {run_.arm: int(run_.arm.split()[-1]) for run_ in results.runs})
    found, accuracy = errors["groups of 2", 0], run.last("test_accuracy")
    assert accuracy is not None
    assert found.running == pytest.approx(100 * (1 - accuracy))
    # Of two values one is as far above their mean as the other is below: only signs are left.
    loaded, part = results.trained(run), held_out(results.start(run))
    assert loaded is not None
    signs = []
    network = loaded.network
    network[2].register_forward_pre_hook(lambda _, args: signs.append(args[0]))
    network.train()(part.inputs[:2])
    norm = network[1]
    plain = (signs[0] - norm.bias) / norm.weight
    wide = plain[:, plain[0].abs() > 0.9]
    torch.testing.assert_close(wide[0], -wide[1], atol=1e-4, rtol=0)


def test_the_effect_is_the_smallest_groups_against_the_reference(results: Results) -> None:
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), results)
    by_hand = [
        100 * ((eight.last("test_accuracy") or 0) - (two.last("test_accuracy") or 0))
        for two, eight in results.pairs("groups of 2", "groups of 8")
    ]
    assert [one.value for one in report.effect.seeds] == pytest.approx(by_hand)
    assert [table.name for table in report.tables] == [
        *("running", "precise", "groups", "training"),
        "published",
    ]
    assert len(report.others) == 4
    assert {tuple(proof["differ_in"]) for proof in report.factors} == {("norm.group_size",)}
    assert all(proof["same_start"] and proof["same_order"] for proof in report.factors)
    assert EXPERIMENT.report(asked(EXPERIMENT, **SMALL), results) == report


def test_the_published_errors_are_of_the_same_sizes() -> None:
    assert {tuple(values) for values in PUBLISHED.values()} == {(1024, 256, 64, 32, 16, 8, 4, 2)}


def test_a_diverged_run_gets_everything_wrong(results: Results) -> None:
    run = results.of("groups of 2")[0]
    found = {("groups of 2", 0): Errors(9.0, 8.0, 7.0, 6.0)}
    assert of_error(found, "precise")(run).value == 8.0
    diverged = of_error(found, "precise")(replace(run, outcome="diverged"))
    assert diverged == Outcome(100.0, "groups of 2 diverged at step 40", diverged=True)
    runs = tuple(
        replace(one, outcome="diverged") if one.arm == "groups of 2" else one
        for one in results.runs
    )
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(runs))
    others = [100 * (one.last("test_accuracy") or 0) for one in results.of("groups of 8")]
    assert [one.value for one in report.effect.seeds] == pytest.approx(others)
    assert any("nothing right, and as no difference" in caveat for caveat in report.caveats)


def test_a_missing_reference_leaves_nothing_to_say(results: Results) -> None:
    runs = tuple(
        replace(one, state="failed", outcome=None) if one.arm == "groups of 8" else one
        for one in results.runs
    )
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(runs))
    assert (report.effect.n, report.effect.verdict) == (0, "inconclusive")


def test_one_test_row_has_no_error_by_its_own_statistics(tmp_path: Path) -> None:
    params = SMALL | {"dataset": one_test_row("wine", tmp_path)}
    report, _ = report_of(EXPERIMENT, tmp_path, (0, 1), **params)
    tables = {table.name: table for table in report.tables}
    assert all(row[1:] == (None, None, None) for row in tables["groups"].rows)
    assert "groups of 2: one row has no batch statistics" in tables["groups"].note
    assert all(None not in row for row in tables["precise"].rows)
    (excess,) = (one for one in report.others if "less those of groups" in one.declared.name)
    assert excess.n == 0
    assert [figure.name for figure in report.figures] == ["errors"]


def test_no_run_at_all_is_a_report_without_figures() -> None:
    report = EXPERIMENT.report(asked(EXPERIMENT), Results(()))
    assert (report.effect.verdict, report.figures) == ("inconclusive", ())
