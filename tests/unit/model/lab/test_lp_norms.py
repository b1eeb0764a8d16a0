"""Five norms in two networks."""

from dataclasses import replace
from math import nan
from typing import Any

import pytest

from model.errors import SpecRefused
from model.figures.charts import Curves
from model.figures.draw_chart import svg
from model.lab.experiment import PlannedRun
from model.lab.lp_norms.arms import Setting
from model.lab.lp_norms.experiment import EXPERIMENT
from model.lab.report import Report
from model.lab.results import Results, Series
from tests.laboratory import asked, report_of

SMALL: dict[str, Any] = {"steps": 10, "second_lr": None}
LINEAR, MLP = Setting("deep_linear", 1e-7), Setting("mlp", 0.1)
NORMS = ["none", "batch", "l1", "l2", "linf"]


def planned(seeds: tuple[int, ...] = (0,), **params: Any) -> tuple[PlannedRun, ...]:
    return EXPERIMENT.plan(asked(EXPERIMENT, **params), seeds)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Results]:
    return report_of(EXPERIMENT, tmp_path_factory.mktemp("runs"), (0, 1), **SMALL)


def again(results: Results) -> Report:
    return EXPERIMENT.report(asked(EXPERIMENT, **SMALL), results)


def test_five_norms_are_trained_in_every_setting_seed_by_seed() -> None:
    runs = planned((0, 1))
    settings = ["deep_linear, {}, lr 1e-07", "deep_linear, {}, lr 1e-06", "mlp, {}, lr 0.1"]
    assert [(run.arm, run.seed) for run in runs] == [
        (setting.format(norm), seed) for seed in (0, 1) for setting in settings for norm in NORMS
    ]


def test_arms_of_a_setting_differ_in_their_norm_alone() -> None:
    specs = [run.spec.model_dump(mode="json") for run in planned(network="mlp")]
    norms = [spec.pop("norm") for spec in specs]
    assert all(spec == specs[0] for spec in specs)
    assert [(norm["kind"], norm.get("p")) for norm in norms] == [
        ("none", None),
        ("batch", None),
        ("lp", 1),
        ("lp", 2),
        ("lp", "inf"),
    ]


def test_the_published_network_is_trained_for_all_of_its_steps() -> None:
    runs = {run.arm: run.spec for run in planned(scale="paper")}
    assert runs["deep_linear, l1, lr 1e-06"].budget.steps == 10_000
    assert runs["deep_linear, l1, lr 1e-06"].batch_size == 1_000
    assert runs["mlp, l1, lr 0.1"].budget.steps == 500
    with pytest.raises(SpecRefused, match="no published setting of mlp") as refused:
        planned(scale="paper", network="mlp")
    assert refused.value.path == "scale"


def test_two_equal_rates_are_refused() -> None:
    with pytest.raises(SpecRefused, match="the same as lr") as refused:
        planned(lr=1e-6)
    assert refused.value.path == "second_lr"


def test_two_rates_of_one_name_are_refused() -> None:
    with pytest.raises(SpecRefused, match="the same as lr, 1e-07") as refused:
        planned(second_lr=1.0000001e-7)
    assert refused.value.path == "second_lr"


def test_rates_of_a_network_that_is_not_asked_for_may_be_equal() -> None:
    arms = {run.arm for run in planned(network="mlp", lr=1e-6)}
    assert arms == {MLP.arm(norm) for norm in NORMS}


def test_a_first_loss_that_is_not_finite_hides_no_level_that_was_reached(
    made: tuple[Report, Results],
) -> None:
    _, results = made
    found = Series((1, 2, 3), (nan, 5.0, 1.0))
    runs = [
        replace(one, series={**one.series, "train_loss": found})
        if one.arm == MLP.arm("none") and one.seed == 0
        else one
        for one in results.runs
    ]
    table = next(one for one in again(Results(tuple(runs))).tables if one.name == "steps-mlp-0-1")
    assert table.columns[2] == "50 % of the first loss without norm: 2.5"
    assert table.rows[0][:3] == ("none", 0, 3)


def test_the_effect_is_the_last_loss_with_l1_over_that_with_batch_norm(
    made: tuple[Report, Results],
) -> None:
    report, results = made
    assert report.effect.declared == EXPERIMENT.declared
    assert [one.seed for one in report.effect.seeds] == [0, 1]
    for one in report.effect.seeds:
        losses = [
            run.last("train_loss")
            for norm in ("l1", "batch")
            for run in results.of(LINEAR.arm(norm))
            if run.seed == one.seed
        ]
        assert losses[0] is not None
        assert losses[1] is not None
        assert one.value == pytest.approx(losses[0] / losses[1])


def test_other_effects_are_of_every_setting(made: tuple[Report, Results]) -> None:
    names = [one.declared.name for one in made[0].others]
    assert names == [
        *(
            f"last training loss of the deep linear network, lr 1e-07: {p} / none"
            for p in NORMS[2:]
        ),
        *(
            "median shift of the input of layer 17 of the deep linear network, lr 1e-07: "
            f"{p} / none"
            for p in NORMS[2:]
        ),
        "last training loss of the MLP, lr 0.1: l1 / batch",
        *(f"last training loss of the MLP, lr 0.1: {p} / none" for p in NORMS[2:]),
        *(
            f"median shift of the input of layer 8 of the MLP, lr 0.1: {p} / none"
            for p in NORMS[2:]
        ),
    ]


def test_every_arm_starts_like_the_one_without_norm(made: tuple[Report, Results]) -> None:
    proofs = made[0].factors
    assert len(proofs) == 2 * 2 * 4
    for proof in proofs:
        assert (proof["differ_in"], proof["same_start"], proof["same_order"]) == (
            ["norm"],
            True,
            True,
        )


def test_losses_of_the_linear_network_stand_beside_the_levels_of_low_rank(
    made: tuple[Report, Results],
) -> None:
    (figure,) = (one for one in made[0].figures if one.name == "loss-deep-linear")
    (panel,) = figure.panels
    assert isinstance(panel, Curves)
    assert [curve.label for curve in panel.curves] == NORMS
    assert panel.curves[0].y[0] > 10_000  # half the sum of squares of 1,000 rows
    assert all(guide.label.startswith("best map of rank") for guide in panel.guides)


def test_steps_to_a_level_are_the_first_point_below_it(made: tuple[Report, Results]) -> None:
    _, results = made
    table = next(one for one in again(results).tables if one.name == "steps-mlp-0-1")
    levels = [float(column.rpartition(": ")[2]) for column in table.columns[2:]]
    for norm, seed, *cells in table.rows:
        (run,) = (one for one in results.of(MLP.arm(str(norm))) if one.seed == seed)
        found = run.series["train_loss"]
        for level, cell in zip(levels, cells, strict=True):
            pairs = zip(found.steps, found.values, strict=True)
            below = [step for step, value in pairs if value <= level * 1.001]
            assert cell is None or cell == below[0]


def test_every_figure_can_be_drawn(made: tuple[Report, Results]) -> None:
    names = [one.name for one in made[0].figures]
    assert names == ["loss-deep-linear", "shift-deep-linear", "loss-mlp", "shift-mlp"]
    assert all(svg(one) for one in made[0].figures)


def test_the_same_runs_give_the_same_report(made: tuple[Report, Results]) -> None:
    report, results = made
    assert again(results) == report


def test_a_diverged_arm_stands_for_the_largest_loss(made: tuple[Report, Results]) -> None:
    _, results = made
    runs = []
    for one in results.runs:
        if one.arm == LINEAR.arm("l1") and one.seed == 0:
            series = {**one.series, "train_loss": Series((10, 11), (90.0, nan))}
            one = replace(one, outcome="diverged", step=11, series=series)
        runs.append(one)
    report = again(Results(tuple(runs)))
    first = report.effect.seeds[0]
    assert first.note == "deep_linear, l1, lr 1e-07 diverged at step 11: at least this"
    assert any("largest loss and the largest shift" in one for one in report.caveats)
    (batch,) = (one for one in results.of(LINEAR.arm("batch")) if one.seed == 0)
    last = batch.last("train_loss")
    assert last is not None
    assert first.value == pytest.approx(90.0 / last)
    assert all(svg(one) for one in report.figures)


def test_where_both_arms_diverged_there_is_no_pair(made: tuple[Report, Results]) -> None:
    runs = tuple(replace(one, outcome="diverged", step=11) for one in made[1].runs)
    report = again(Results(runs))
    for effect in (report.effect, *report.others):
        assert (effect.n, effect.verdict) == (0, "inconclusive")


def test_failed_runs_leave_their_seeds_out(made: tuple[Report, Results]) -> None:
    _, results = made
    failed = [replace(one, state="failed", outcome=None, why="killed") for one in results.runs]
    report = again(Results((*failed[:5], *results.runs[5:])))
    assert [one.seed for one in report.effect.seeds] == [1]
    nothing = again(Results(tuple(failed)))
    assert (nothing.effect.verdict, nothing.effect.n, nothing.figures) == ("inconclusive", 0, ())
