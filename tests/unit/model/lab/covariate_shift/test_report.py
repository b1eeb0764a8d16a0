"""The report on real runs, small ones, and on runs that ended badly."""

from dataclasses import replace
from math import inf, isfinite
from pathlib import Path
from typing import Any

import pytest

from model.figures.draw_chart import svg
from model.lab.covariate_shift.experiment import EXPERIMENT
from model.lab.document import Environment, canonical, document
from model.lab.report import Report
from model.lab.results import Results, Series
from tests.laboratory import asked, report_of

SMALL = {"network": "mlp", "steps": 8, "batch_size": 64}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Results]:
    return report_of(EXPERIMENT, tmp_path_factory.mktemp("mlp"), (0, 1), **SMALL)


def again(results: Results, **params: Any) -> Report:
    return EXPERIMENT.report(asked(EXPERIMENT, **SMALL, **params), results)


def test_the_effect_is_the_shift_of_the_deepest_gradient_seed_by_seed(
    made: tuple[Report, Results],
) -> None:
    report, results = made
    assert report.effect.declared.name == "median |G - G'| of layer 8 of the MLP: batch / none"
    assert (report.effect.declared.claimed, report.effect.declared.margin) == ("below", 1.25)
    medians = {}
    for run in results.runs:
        values = sorted(run.series["covariate_shift.l2.8"].values)
        middle = len(values) // 2
        medians[run.arm, run.seed] = (values[middle] + values[~middle]) / 2
    for one in report.effect.seeds:
        expected = medians["mlp, batch", one.seed] / medians["mlp, none", one.seed]
        assert one.value == pytest.approx(expected)


def test_arms_start_alike_and_see_the_same_rows(made: tuple[Report, Results]) -> None:
    report, _ = made
    assert len(report.factors) == 2
    for proof in report.factors:
        assert proof["differ_in"] == ["norm"]
        assert proof["same_start"]
        assert proof["same_order"]


def test_every_layer_of_every_run_is_in_the_table(made: tuple[Report, Results]) -> None:
    table = made[0].tables[0]
    assert [row[:4] for row in table.rows] == [
        ("mlp", layer, norm, seed)
        for layer in (3, 6, 8)
        for norm in ("none", "batch")
        for seed in (0, 1)
    ]
    for row in table.rows:
        assert isinstance(row[5], float)
        assert -1 <= row[5] <= 1
        assert isinstance(row[6], float)
        assert 0 <= row[6] <= 1


def test_both_shifts_of_the_post_are_in_one_figure(made: tuple[Report, Results]) -> None:
    (figure,) = (one for one in made[0].figures if one.name == "two-shifts")
    by_layer, by_strength = figure.panels
    assert [curve.label for curve in by_layer.curves] == [
        "shifted inputs, no norm",
        "shifted inputs, batch norm, statistics of training",
        "shifted inputs, batch norm, new statistics",
        "one training step, no norm",
        "one training step, batch norm",
    ]
    assert [list(curve.x) for curve in by_layer.curves[::4]] == [
        list(range(1, 10)),
        list(range(2, 10)),
    ]
    assert [len(curve.y) for curve in by_strength.curves] == [6, 6, 6]


def test_a_contrast_and_an_offset_are_taken_back_by_new_statistics(
    made: tuple[Report, Results],
) -> None:
    rows = {(row[1], row[2]): row[3:] for row in made[0].tables[2].rows if row[0] == "batch"}
    for seed in (0, 1):
        anew = rows[seed, "new"]
        assert anew[-1] == pytest.approx(anew[0], abs=0.02)


def test_every_figure_can_be_drawn(made: tuple[Report, Results]) -> None:
    figures = made[0].figures
    assert [one.name for one in figures] == [
        "gradients-mlp",
        "inputs-mlp",
        "loss-mlp",
        "two-shifts",
    ]
    for one in figures:
        assert svg(one)


def test_the_same_runs_give_the_same_report(made: tuple[Report, Results]) -> None:
    report, results = made
    assert again(results) == report


def test_a_diverged_arm_is_the_worst_and_marked(made: tuple[Report, Results]) -> None:
    _, results = made
    none, *others = results.runs
    steps, values = none.series["covariate_shift.l2.8"].steps, (1e9,) * 4 + (inf,) * 4
    series = {**none.series, "covariate_shift.l2.8": Series(steps, values)}
    told = replace(none, outcome="diverged", step=6, series=series)
    report = again(Results((told, *others)))
    first = report.effect.seeds[0]
    assert first.note == "mlp, none diverged at step 6: at most this"
    assert any("under shifted inputs left out: mlp, none, seed 0" in one for one in report.caveats)
    assert all(svg(one) for one in report.figures)


def test_the_loss_of_a_diverged_arm_is_a_bound(made: tuple[Report, Results]) -> None:
    _, results = made
    none, *others = results.runs
    report = again(Results((replace(none, outcome="diverged", step=6), *others)))
    (loss,) = (one for one in report.others if one.declared.name.startswith("last training loss"))
    assert [one.bound for one in loss.seeds] == ["at most", ""]


def test_failed_runs_leave_their_seeds_out(made: tuple[Report, Results]) -> None:
    _, results = made
    failed = [replace(one, state="failed", outcome=None, why="killed") for one in results.runs]
    report = again(Results((failed[0], *results.runs[1:])))
    assert [one.seed for one in report.effect.seeds] == [1]
    assert report.effect.verdict == "inconclusive"
    nothing = again(Results(tuple(failed)))
    assert (nothing.effect.verdict, nothing.effect.n) == ("inconclusive", 0)
    assert nothing.figures == ()


def test_a_deep_linear_network_has_levels_and_no_accuracy(tmp_path: Path) -> None:
    params = {"network": "deep_linear", "steps": 20}
    report, _ = report_of(EXPERIMENT, tmp_path, (0,), **params)
    assert report.effect.declared == EXPERIMENT.declared
    (loss,) = (one for one in report.figures if one.name == "loss-deep-linear")
    (panel,) = loss.panels
    assert panel.guides
    assert panel.guides[0].label.startswith("best map of rank")
    assert panel.curves[0].y[0] > 10_000  # half the sum of squares of 1,000 rows
    assert any("20 of the 10,000 published" in one for one in report.caveats)
    assert any("not shown" in one for one in report.caveats)
    assert "two-shifts" not in {one.name for one in report.figures}
    numbers = [cell for row in report.tables[0].rows for cell in row if isinstance(cell, float)]
    assert all(map(isfinite, numbers))


def test_the_report_is_json(made: tuple[Report, Results]) -> None:
    told = document(
        "exp_1",
        (EXPERIMENT, asked(EXPERIMENT, **SMALL), (0, 1)),
        [],
        made[0],
        Environment("c", "t", 1),
    )
    assert canonical(told)["effect"]["n"] == 2


@pytest.mark.parametrize(("last", "told"), [(2.3, True), (1.9, False)])
def test_an_arm_that_has_hardly_learned_is_named(
    made: tuple[Report, Results], last: float, told: bool
) -> None:
    _, results = made
    losses = {"mlp, none": Series((1, 8), (2.303, last)), "mlp, batch": Series((1, 8), (2.5, 0.1))}
    runs = tuple(
        replace(run, series={**run.series, "train_loss": losses[run.arm]}) for run in results.runs
    )
    caveats = " ".join(again(replace(results, runs=runs)).caveats)
    assert ("Hardly learned in these steps, in any seed: mlp, none." in caveats) is told
    assert "mlp, batch" not in caveats
