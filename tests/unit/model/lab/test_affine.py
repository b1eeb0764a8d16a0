"""Gain and bias of batch norm: the plan, the identity that they make possible, and the report."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from model.data.builtin import build
from model.data.dataset import describe
from model.errors import SpecRefused
from model.lab.affine.experiment import EXPERIMENT
from model.lab.affine.identity import identity_of
from model.lab.affine.plan import AffineParams
from model.lab.affine.scores import TrainingRows
from model.lab.report import Report
from model.lab.results import Results, RunResult
from tests.laboratory import asked, report_of, written

SMALL: dict[str, Any] = {
    "depths": [1],
    "activations": ["relu"],
    "placements": ["before_activation"],
    "steps": 600,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Results]:
    return report_of(EXPERIMENT, tmp_path_factory.mktemp("affine"), (0, 1), **SMALL)


def changed(run: RunResult, **fields: Any) -> RunResult:
    return RunResult(**{**vars(run), **fields})


def test_the_plan_has_every_network_and_those_without_norm_once() -> None:
    planned = EXPERIMENT.plan(asked(EXPERIMENT), (0,))
    arms = [one.arm for one in planned]
    assert arms[:3] == [
        "none, 1 x relu",
        "affine, 1 x relu, norm before",
        "plain, 1 x relu, norm before",
    ]
    assert len(arms) == len(set(arms)) == 4 + 8 * 2
    specs = {one.arm: one.spec for one in planned}
    affine, plain = specs[arms[1]], specs[arms[2]]
    assert (affine.norm.model_dump()["affine"], plain.norm.model_dump()["affine"]) == (True, False)
    assert plain.model_copy(update={"norm": affine.norm}) == affine
    behind = specs["plain, 3 x tanh, norm behind"]
    assert behind.norm.model_dump()["placement"] == "after_activation"
    assert behind.network.model_dump()["hidden"] == (20, 20, 20)


def test_rows_on_a_line_have_no_plane_to_draw(tmp_path: Path) -> None:
    spirals = build("spirals")
    flat = spirals.inputs * np.array([1, 0], spirals.inputs.dtype)
    mine = describe(flat, spirals.targets, spirals.facts.classes)
    params = SMALL | {"steps": 10, "dataset": written("line", mine, tmp_path)}
    report, _ = report_of(EXPERIMENT, tmp_path, (0,), **params)
    assert [one.name for one in report.figures] == ["accuracy", "training"]


def test_a_network_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="every value may be there once"):
        AffineParams.model_validate({"depths": [1, 1]})


def test_without_a_bias_one_layer_of_units_cannot_fit_what_it_fits_with_one(
    trained: tuple[Report, Results],
) -> None:
    report, _ = trained
    assert report.effect.verdict == "supports"
    assert report.others[0].verdict == "supports"  # more than half of it is given back
    assert [one.name for one in report.figures] == ["accuracy", "training", "plane"]
    assert [one["differ_in"] for one in report.factors] == [["norm"]] * 2 + [["norm.affine"]] * 2
    assert all(one["same_start"] and one["same_order"] for one in report.factors)


def test_a_unit_without_a_bias_bends_at_the_mean_of_the_rows(
    trained: tuple[Report, Results],
) -> None:
    """In evaluation mode f(mean + a d) - f(mean) = a (f(mean + d) - f(mean)) for every a > 0."""
    _, results = trained
    run = results.of("plain, 1 x relu, norm before")[0]
    loaded = results.trained(run)
    assert loaded is not None
    network = loaded.network.double()
    assert isinstance(network, nn.Sequential)
    linear, norm = network[0], network[1]
    middle = torch.linalg.lstsq(linear.weight, norm.running_mean - linear.bias).solution
    norm.running_mean.copy_(linear(middle).detach())  # the batches' means, to the last digit
    way = torch.tensor([0.3, -0.7], dtype=torch.float64)
    with torch.no_grad():
        at, near, far = (network((middle + a * way)[None]) for a in (0.0, 1.0, 5.0))
    torch.testing.assert_close(far - at, 5 * (near - at))


@pytest.mark.parametrize("side", ["before_activation", "after_activation"])
def test_gain_and_bias_can_make_batch_norm_the_identity(
    trained: tuple[Report, Results], side: Any
) -> None:
    _, results = trained
    found = identity_of(results, results.of("none, 1 x relu")[0], side)
    assert found is not None
    assert found.rows == 2_000
    assert found.same_rows < 1e-12
    assert found.held_out < 1e-12
    assert found.mini_batch > 1e-3  # other rows, other statistics
    assert found.without > 0.1
    assert found.accuracy is not None
    assert found.accuracy_without is not None
    assert found.accuracy_without < found.accuracy


def test_scores_are_of_the_finished_network_on_all_training_rows(
    trained: tuple[Report, Results],
) -> None:
    _, results = trained
    run = results.of("none, 1 x relu")[0]
    loaded, rows = results.trained(run), results.start(run).arrays.train
    assert loaded is not None
    with torch.no_grad():
        logits = loaded.network(rows.inputs)
    wanted = nn.functional.cross_entropy(logits, rows.targets).item()
    scores = TrainingRows(results)
    assert scores.of("loss", None)(run).value == pytest.approx(wanted, rel=1e-5)
    assert rows.classes is not None
    share = (logits.argmax(1) == rows.classes).double().mean().item()
    assert scores.of("accuracy", 0.0)(run).value == pytest.approx(share)


def test_a_run_that_diverged_is_named_and_a_failed_one_left_out(
    trained: tuple[Report, Results],
) -> None:
    _, results = trained
    ended: dict[str, dict[str, Any]] = {
        "plain, 1 x relu, norm before": {"outcome": "diverged", "step": 7},
        "none, 1 x relu": {"state": "failed", "outcome": None, "checkpoints": ()},
    }
    runs = tuple(changed(run, **ended.get(run.arm, {})) for run in results.runs)
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(runs))
    notes = [one.note for one in report.effect.seeds]
    assert notes == ["plain, 1 x relu, norm before diverged at step 7"] * 2
    assert report.others[0].n == 0
    told = "Diverged, and counted as an accuracy of 0, and as no loss: plain, 1 x relu"
    assert any(text.startswith(told) for text in report.caveats)
    assert report.tables[-1].rows == ()


def test_where_both_arms_diverged_there_is_no_pair(trained: tuple[Report, Results]) -> None:
    runs = tuple(changed(run, outcome="diverged", step=7) for run in trained[1].runs)
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(runs))
    assert (report.effect.n, report.effect.verdict) == (0, "inconclusive")
    assert all(other.n == 0 for other in report.others)


def test_targets_that_are_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecRefused, match="cross_entropy needs classes"):
        report_of(EXPERIMENT, tmp_path, (0,), **SMALL, dataset="gaussian_linear")


def test_no_run_at_all_is_a_report_without_figures() -> None:
    report = EXPERIMENT.report(asked(EXPERIMENT), Results(()))
    assert (report.effect.verdict, report.figures) == ("inconclusive", ())
