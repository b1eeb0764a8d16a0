"""The makemore experiment: its starts against the notebook's formulas, its plan and its report."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model.data.dataset import save
from model.data.options import ReadOptions
from model.data.readers import read
from model.errors import SpecRefused
from model.figures.charts import Ridges
from model.figures.draw_chart import svg
from model.lab.factors import differing
from model.lab.makemore.arms import STARTS, Params, deep_arm
from model.lab.makemore.calibration import calibrations
from model.lab.makemore.depth import deviations, log_ratio, size_of_log_ratio
from model.lab.makemore.experiment import EXPERIMENT
from model.lab.makemore.starts import look_at
from model.lab.report import Report, Table
from model.lab.results import NO_LIMITS, Measured, Results, RunResult, Series
from model.lab.saturation.closed_form import share_of_normal
from model.plan import check
from model.statistics.modes import batch_norms
from model.training.loop import Training
from model.training.order import Order, batches
from model.training.randomness import stream
from tests.laboratory import asked, report_of

SMALL: dict[str, Any] = {
    "hidden": 40,
    "steps": 20,
    "depth": 4,
    "width": 40,
    "gains": [0.5, 3.0],
    "deep_steps": 10,
}
WORDS = ["emma", "olivia", "ava", "isabella", "sophia", "mia", "amelia", "harper", "evelyn", "zoe"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Results]:
    return report_of(EXPERIMENT, tmp_path_factory.mktemp("makemore"), (0, 1), **SMALL)


def table(report: Report, name: str) -> Table:
    return next(one for one in report.tables if one.name == name)


def effect(report: Report, start: str) -> Any:
    return next(one for one in report.others if one.declared.name.startswith(start))


# Plan


def test_the_plan_has_five_starts_and_every_gain_with_and_without_norm() -> None:
    arms = [run.arm for run in EXPERIMENT.plan(Params(), (3,))]
    assert arms == [
        *("naive", "output x .01", "hidden x .2", "Kaiming 5/3", "batch norm"),
        *("deep, gain 0.5, none", "deep, gain 0.5, batch"),
        *("deep, gain 1, none", "deep, gain 1, batch"),
        *("deep, gain 1.66667, none", "deep, gain 1.66667, batch"),
        *("deep, gain 3, none", "deep, gain 3, batch"),
    ]


def test_arms_that_are_compared_differ_in_the_norm_alone() -> None:
    specs = {run.arm: run.spec for run in EXPERIMENT.plan(Params(), (0,))}
    pairs = [("output x .01", "batch norm"), (deep_arm("none", 3.0), deep_arm("batch", 3.0))]
    for none, batch in pairs:
        assert set(differing(specs[none], specs[batch])) - {"checkpoint_every"} == {"norm"}


def test_the_rate_falls_once_in_the_middle() -> None:
    for steps in (7, 8):
        spec = EXPERIMENT.plan(Params(steps=steps), (0,))[0].spec
        assert spec.schedule.model_dump()["every_steps"] == 4
        assert spec.optimizer.lr == 0.1


def test_of_a_word_list_the_network_is_the_notebooks(make_facts) -> None:
    params = Params(dataset="names", symbols=27, scale="paper")
    specs = {run.arm: run.spec for run in EXPERIMENT.plan(params, (0,))}
    assert specs["naive"].budget.steps == 200_000
    facts = replace(make_facts((3,), outputs=27, rows=228_146), indices=27)
    shallow, deep = (
        check(specs[arm], facts, NO_LIMITS).plan.parameters
        for arm in ("naive", "deep, gain 1.66667, none")
    )
    assert shallow == 27 * 10 + 30 * 200 + 200 + 200 * 27 + 27  # 11,897, as the notebook counts
    assert deep == 27 * 10 + 30 * 100 + 4 * 100 * 100 + 100 * 27 + 27


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"symbols": 27, "fan_in": 20}, "fan_in"),
        ({"embedding_dim": 4}, "embedding_dim"),
        ({"scale": "paper"}, "symbols"),
    ],
)
def test_params_that_do_not_fit_each_other_are_refused(params: dict[str, Any], path: str) -> None:
    with pytest.raises(SpecRefused) as refused:
        EXPERIMENT.plan(asked(EXPERIMENT, **params), (0,))
    assert refused.value.path == path


def test_gains_are_sorted_and_each_there_once() -> None:
    assert Params(gains=(3.0, 0.5)).gains == (0.5, 3.0)
    with pytest.raises(ValueError, match="once"):
        Params(gains=(1.0, 1.0 + 1e-9))


def test_gains_that_are_told_apart_have_arms_of_their_own() -> None:
    arms = {run.arm for run in EXPERIMENT.plan(Params(gains=(1.667, 1.67)), (0,))}
    assert len(arms) == len(STARTS) + 2 * 2


def test_batches_of_two_are_refused_for_two_equal_draws_have_no_deviation() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 3"):
        Params(batch_size=2)


# Starts


def test_a_start_is_what_the_notebooks_formulas_make_of_it(found: tuple[Report, Results]) -> None:
    _, results = found
    run = results.of("naive")[0]
    seen = next(one for one in look_at(results) if (one.arm, one.seed) == ("naive", 0))
    start = results.start(run)
    order = torch.randperm(len(start.arrays.train), generator=_measures(run.seed))
    rows = order[: len(order) // 32 * 32]
    x, y = start.arrays.train.inputs[rows, :30], start.arrays.train.targets[rows]
    w1, b1, w2, b2 = (one.detach() for one in start.network.parameters())
    hpreact = x @ w1.T + b1
    h = torch.tanh(hpreact)
    loss = torch.nn.functional.cross_entropy(h @ w2.T + b2, y)
    assert seen.loss == pytest.approx(float(loss), rel=1e-4)
    assert seen.sd == pytest.approx(float(hpreact.std(correction=0)), rel=1e-5)
    assert seen.saturated == pytest.approx(float((h.abs() > 0.99).float().mean()), abs=1e-5)
    assert seen.slope == pytest.approx(float((1 - h**2).mean()), rel=1e-4)
    assert seen.white == int((h[:32].abs() > 0.99).all(0).sum())
    assert seen.chance == pytest.approx(math.log(10))


def _measures(seed: int) -> torch.Generator:
    return stream(seed, "measures")


def test_each_start_mends_what_the_notebook_says_it_mends(found: tuple[Report, Results]) -> None:
    report, _ = found
    rows = {row[0]: row for row in table(report, "starts").rows if row[1] == 0}
    loss, saturated = ({arm: row[i] for arm, row in rows.items()} for i in (2, 7))
    assert list(rows) == list(STARTS)
    assert loss["naive"] > 5
    for arm in STARTS[1:]:
        assert loss[arm] == pytest.approx(math.log(10), abs=0.1)
    assert saturated["naive"] == saturated["output x .01"] > 50
    assert max(saturated["hidden x .2"], saturated["batch norm"]) < 3
    assert 5 < saturated["Kaiming 5/3"] < 12
    assert effect(report, "saturated").verdict == "supports"
    assert effect(report, "loss before").value > 3
    # Pixels are not normal: behind a norm it is near the closed form, and not equal to it.
    assert saturated["batch norm"] == pytest.approx(100 * share_of_normal(1.0), abs=1.5)


# Depth


def test_with_norm_every_gain_keeps_its_deviation_over_depth(found: tuple[Report, Results]) -> None:
    report, results = found
    assert report.effect.verdict == "supports"
    for gain in (0.5, 3.0):
        for run in results.of(deep_arm("batch", gain)):
            assert abs(log_ratio(run, "outputs")) < math.log(1.25)
    shrinking = deviations(results.of(deep_arm("none", 0.5))[0], "outputs")
    assert shrinking == sorted(shrinking, reverse=True)
    assert shrinking[-1] / shrinking[0] < 0.3


def test_a_large_gain_shows_in_the_gradients_and_not_in_the_activations(
    found: tuple[Report, Results],
) -> None:
    report, results = found
    run = results.of(deep_arm("none", 3.0))[0]
    assert abs(log_ratio(run, "outputs")) < math.log(1.25)
    assert log_ratio(run, "gradients") < -math.log(1.25)
    beyond = [one for one in report.others if "beyond ln 1.25" in one.declared.name]
    assert [one.verdict for one in beyond] == ["supports", "contradicts"]


def with_deviations(run: RunResult, first: float, last: float) -> RunResult:
    """A run whose tanh layers had these deviations before the first step, gradients alike."""
    layers = [{"outputs": {"sd": sd}, "gradients": {"sd": sd}} for sd in (first, last)]
    return replace(run, measured={"histograms": (Measured(0, {"layers": layers}),)})


def test_activations_that_vanish_are_a_bound_and_not_nothing(tmp_path: Path) -> None:
    """What is exactly 0 in float32 was below its smallest normal number, 2^-126."""
    given = {**SMALL, "gains": [0.01, 1.0], "depth": 32, "deep_steps": 1, "steps": 1}
    report, results = report_of(EXPERIMENT, tmp_path, (0, 1), **given)
    (run,) = (one for one in results.of(deep_arm("none", 0.01)) if one.seed == 0)
    sds = deviations(run, "outputs")
    assert sds[0] > 0
    assert sds[-1] == 0
    beyond = effect(report, "|ln(sd of last / first tanh layer)| beyond ln 1.25, deep, gain 0.01")
    least = math.log(sds[0] * 2**126)
    assert beyond.seeds[0].value == pytest.approx(least - math.log(1.25))
    assert (report.effect.n, report.effect.verdict) == (2, "supports")
    assert "vanish" in report.effect.seeds[0].note
    assert "at least this" in report.effect.seeds[0].note
    assert all(svg(one) for one in report.figures)


def test_a_network_of_which_nothing_arrives_has_no_ratio(found: tuple[Report, Results]) -> None:
    _, results = found
    run = results.of(deep_arm("none", 0.5))[0]
    for first, last in ((0.0, 0.0), (math.nan, 0.0), (0.5, math.inf)):
        of = size_of_log_ratio("gradients")
        assert of(with_deviations(run, first, last)).value is None
    turned = size_of_log_ratio("gradients")(with_deviations(run, 0.0, 0.5))
    assert (turned.value, turned.bound) == (pytest.approx(math.log(0.5 * 2**126)), "at least")


def test_the_median_update_is_that_of_layers_with_a_number(found: tuple[Report, Results]) -> None:
    report, results = found
    arm, name = deep_arm("none", 0.5), "gradients.update_to_data."
    updates = (1e-3, 1e-2, math.nan, 1e-4)
    series = {f"{name}{i}": Series((1,), (value,)) for i, value in enumerate(updates)}
    runs = [replace(run, series=series) if run.arm == arm else run for run in results.runs]
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(tuple(runs)))
    assert table(report, "depth").rows[0][-1] == pytest.approx(-3)


def test_the_deviations_are_those_of_the_first_mini_batch(found: tuple[Report, Results]) -> None:
    _, results = found
    run = results.of(deep_arm("none", 3.0))[0]
    start = results.start(run)
    seen = list[torch.Tensor]()
    batch = _first_batch(start.training)
    for layer in start.network:
        batch = layer(batch)
        if isinstance(layer, torch.nn.Tanh):
            seen.append(batch)
    expected = [float(one.detach().double().std(correction=0)) for one in seen]
    assert deviations(run, "outputs") == pytest.approx(expected, rel=1e-4)


def _first_batch(training: Training) -> torch.Tensor:
    train, spec = training.arrays.train, training.checked.spec
    sizes = training.checked.batches.sizes
    order = Order(len(train), sizes, spec.sampling, stream(spec.seed, "order"))
    return next(batches(train.inputs, train.targets, order.epoch(), 0))[0]


# Calibration


def test_running_statistics_are_compared_with_those_of_all_training_rows(
    found: tuple[Report, Results],
) -> None:
    _, results = found
    run = results.of("batch norm")[0]
    told = calibrations(results, run)
    assert [one.step for one in told] == list(range(2, 21, 2))
    assert told[-1].running == pytest.approx(run.last("test_loss"), rel=1e-5)
    # By hand: the one norm layer's input over all training rows, and no other statistics.
    loaded, start = results.trained(run), results.start(run)
    assert loaded is not None
    x, test = start.arrays.train.inputs[:, :30], start.arrays.test
    (norm,) = batch_norms(loaded.network).values()
    linear, last = [one for one in loaded.network if isinstance(one, torch.nn.Linear)]
    given = linear(x)
    z = (linear(test.inputs[:, :30]) - given.mean(0)) / given.std(0)
    logits = last(torch.tanh(norm.weight * z + norm.bias))
    loss = torch.nn.functional.cross_entropy(logits, test.targets)
    assert told[-1].recomputed == pytest.approx(float(loss), rel=1e-4)


# Report


def test_the_norm_is_proven_to_be_the_only_difference(found: tuple[Report, Results]) -> None:
    report, _ = found
    assert len(report.factors) == 2 * 3
    for proof in report.factors:
        assert proof["same_order"]
        assert proof["same_start"]


def test_every_figure_is_there(found: tuple[Report, Results]) -> None:
    report, _ = found
    assert [one.name for one in report.figures] == [
        *("map", "depth", "activations", "activation-gradients", "updates", "losses"),
        "calibration",
    ]


def test_histograms_beside_each_other_are_of_one_seed(found: tuple[Report, Results]) -> None:
    """Seed 0 has no run of one arm: seed 1 is the first that all have."""
    _, results = found
    missing = (deep_arm("none", 0.5), 0)
    runs = tuple(
        replace(run, state="failed", outcome=None) if (run.arm, run.seed) == missing else run
        for run in results.runs
    )
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(runs))
    figure = next(one for one in report.figures if one.name == "activations")
    assert figure.notes[0] == "seed 1; layer 1 lowest"
    for panel, arm in zip(figure.panels[:2], ("none", "batch"), strict=True):
        assert isinstance(panel, Ridges)
        run = results.run(deep_arm(arm, 0.5), 1)
        assert run is not None
        histogram = run.measured["histograms"][0].data["layers"][0]["outputs"]
        assert panel.densities[0] == tuple(histogram["density"])


def test_the_report_is_the_same_again(found: tuple[Report, Results]) -> None:
    report, results = found
    assert EXPERIMENT.report(asked(EXPERIMENT, **SMALL), results) == report


def test_diverged_and_failed_runs_do_not_stop_it(found: tuple[Report, Results]) -> None:
    _, results = found
    runs = [
        replace(run, outcome="diverged", step=4)
        if run.arm == "Kaiming 5/3"
        else replace(run, state="failed", outcome=None, why="lost")
        if run.seed == 1
        else run
        for run in results.runs
    ]
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(tuple(runs)))
    assert (report.effect.n, report.effect.verdict) == (1, "inconclusive")
    last = effect(report, "held-out loss after training, statistics recomputed")
    assert "diverged at step 4" in last.seeds[0].note
    assert last.value > 0
    told = "Diverged, and counted after training as the largest loss that was seen"
    assert told in " ".join(report.caveats)


def test_the_lag_of_a_diverged_run_is_that_of_what_was_kept(found: tuple[Report, Results]) -> None:
    told, results = found
    runs = [
        replace(run, outcome="diverged", step=4) if run.arm == "batch norm" else run
        for run in results.runs
    ]
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(tuple(runs)))
    lag = "held-out loss after training: by running statistics"
    before, after = (effect(one, lag) for one in (told, report))
    assert after.value == before.value
    assert after.seeds[0].note == "batch norm diverged at step 4: as it was last kept"


def test_of_a_diverged_start_the_loss_is_a_bound_and_of_two_there_is_none(
    found: tuple[Report, Results],
) -> None:
    _, results = found
    for arms, bounds in (
        (("Kaiming 5/3",), ["at least"] * 2),
        (("Kaiming 5/3", "batch norm"), [""] * 2),
    ):
        runs = [
            replace(run, outcome="diverged", step=4) if run.arm in arms else run
            for run in results.runs
        ]
        report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(tuple(runs)))
        last = effect(report, "held-out loss after training, statistics recomputed")
        assert [one.bound for one in last.seeds] == bounds
        assert [one.value is None for one in last.seeds] == [not bound for bound in bounds]


def test_without_any_run_there_is_no_verdict() -> None:
    report = EXPERIMENT.report(Params(), Results(()))
    assert (report.effect.n, report.effect.verdict, report.figures) == (0, "inconclusive", ())


def test_a_word_list_is_read_trained_on_and_reported(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(WORDS * 6))
    dataset = read("text", tmp_path / "names.txt", ReadOptions(context=3))
    (tmp_path / "names").mkdir()
    save(dataset, tmp_path / "names")
    symbols = dataset.facts.outputs
    given = {**SMALL, "dataset": "names", "symbols": symbols, "steps": 4, "deep_steps": 2}
    report, results = report_of(EXPERIMENT, tmp_path, (0,), **given)
    rows = table(report, "starts").rows
    assert rows[1][2] == pytest.approx(math.log(symbols), abs=0.1)
    assert results.of("naive")[0].spec.scaling == "none"
    assert "whole words" in " ".join(report.caveats)
