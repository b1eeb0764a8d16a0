"""Three starts with and without batch norm: the plan, what is looked at, and what is concluded."""

import copy
from dataclasses import replace
from math import inf, nan, sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from model.errors import SpecRefused
from model.lab.factors import differing
from model.lab.initialization.experiment import EXPERIMENT
from model.lab.initialization.plan import arm_of, plan
from model.lab.initialization.report import report
from model.lab.initialization.starts import StartAt, look_at, spread
from model.lab.initialization.survival import arrived, cells
from model.lab.report import Report
from model.lab.results import Results, RunResult, Series
from model.measures.largest_step import LargestStep
from model.measures.objective import flatten, parameters_of
from tests.laboratory import asked, report_of, results_of

SMALL = {
    "network": {"kind": "mlp", "hidden": [8, 8], "activation": "relu"},
    "rates": [0.1, 1.0],
    "path_rate": 1.0,
    "steps": 12,
    "target_loss": 2.0,
}


@pytest.fixture(scope="module")
def params() -> Any:
    return asked(EXPERIMENT, **SMALL)


@pytest.fixture(scope="module")
def results(params: Any, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return results_of(plan(params, (0, 1)), tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def reported(params: Any, results: Results) -> Report:
    return report(params, results)


def made(params: Any, losses: dict[str, list[float]], seed: int = 0) -> Results:
    """Runs with these training losses at steps 10, 20, ...; a last one that is NaN diverged."""
    specs = {run.arm: run.spec for run in plan(params, (seed,))}
    runs = []
    for arm, values in losses.items():
        steps = tuple(10 * (i + 1) for i in range(len(values)))
        outcome = "completed" if values[-1] == values[-1] else "diverged"
        told = {"state": "succeeded", "outcome": outcome, "why": None, "step": steps[-1]}
        series = {"train_loss": Series(steps, tuple(values))}
        left = {"dataset": "", "series": series, "measured": {}, "checkpoints": ()}
        runs.append(RunResult(arm=arm, seed=seed, spec=specs[arm], **told, **left))
    return Results(tuple(runs))


def test_every_start_is_planned_at_every_rate_with_and_without_norm(params: Any) -> None:
    found = plan(params, (0, 5))

    assert len(found) == 2 * 3 * 2 * 2
    assert len({(run.arm, run.seed) for run in found}) == len(found)
    assert all(run.spec.seed == run.seed for run in found)


@pytest.mark.parametrize("name", ["rates", "path_rate"])
def test_a_rate_that_no_axis_reaches_down_to_is_refused(name: str) -> None:
    rates: dict[str, Any] = {"rates": [0.1], "path_rate": 0.1}
    rates[name] = [1e-323] if name == "rates" else 1e-323
    with pytest.raises(ValidationError, match="greater than or equal to"):
        asked(EXPERIMENT, **SMALL | rates)


def test_the_widest_range_of_rates_is_drawn(tmp_path: Path) -> None:
    wide = SMALL | {"rates": [1e-12, 1e6], "path_rate": 1e-12}
    report, _ = report_of(EXPERIMENT, tmp_path, (0,), **wide)
    (along,) = (one for one in report.figures if one.name == "along-the-gradient")
    assert {len(panel.curves[1].x) for panel in along.panels} == {2}  # type: ignore[union-attr]
    assert max(len(panel.curves[0].x) for panel in along.panels) < 400  # type: ignore[union-attr]


def test_arms_of_one_start_and_rate_differ_in_the_norm_alone(params: Any) -> None:
    specs = {(run.arm, run.seed): run.spec for run in plan(params, (0, 5))}

    for seed in (0, 5):
        for gain in params.gains:
            for rate in params.rates:
                arms = [specs[arm_of(norm, gain, rate), seed] for norm in ("none", "batch")]
                assert differing(*arms) == ["norm"]


def test_only_the_first_seed_keeps_checkpoints_of_the_paths_that_are_drawn(params: Any) -> None:
    kept = {(run.seed, run.spec.optimizer.lr) for run in plan(params, (3, 1)) if _keeps(run.spec)}

    assert kept == {(1, 1.0)}


def _keeps(spec: Any) -> bool:
    return spec.checkpoint_every is not None


def test_starts_are_one_draw_times_their_gains(params: Any, results: Results) -> None:
    starts = {
        gain: flatten(parameters_of(results.start(_run(results, "none", gain)).network)).double()
        for gain in params.gains
    }

    torch.testing.assert_close(starts[0.5], 0.5 * starts[1.0])
    torch.testing.assert_close(starts[3.0], 3 * starts[1.0])


def test_a_gain_is_the_deviation_of_a_layer_in_units_of_one_over_its_inputs(
    results: Results,
) -> None:
    weight = parameters_of(results.start(_run(results, "none", 3.0)).network)["0.weight"]

    assert weight.std().item() * sqrt(64) == pytest.approx(3.0, rel=0.1)


def _run(results: Results, norm: str, gain: float, rate: float = 0.1, seed: int = 0) -> RunResult:
    found = results.run(arm_of(norm, gain, rate), seed)
    assert found is not None
    return found


def test_an_activation_takes_the_place_of_the_networks_own() -> None:
    found = plan(asked(EXPERIMENT, activation="tanh"), (0,))

    assert {run.spec.network.activation for run in found} == {"tanh"}


def test_an_activation_for_a_network_without_one_is_refused() -> None:
    params = asked(EXPERIMENT, activation="tanh", network={"kind": "deep_linear"})

    with pytest.raises(SpecRefused, match="kind deep_linear has no activation") as refused:
        plan(params, (0,))
    assert refused.value.path == "activation"


def test_paths_at_a_rate_that_nothing_is_trained_at_are_refused() -> None:
    with pytest.raises(SpecRefused, match=r"0\.2 must be one of the rates") as refused:
        plan(asked(EXPERIMENT, **SMALL | {"path_rate": 0.2}), (0,))
    assert refused.value.path == "path_rate"


@pytest.mark.parametrize(
    "wrong",
    [
        {"gains": [1.0, 1.0, 2.0]},
        {"gains": [1.0, 2.0]},
        {"rates": []},
        {"rates": [0.0]},
        {"scale": "paper"},
    ],
)
def test_params_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        asked(EXPERIMENT, **wrong)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_longest_safe_step_is_where_the_loss_of_all_training_rows_is_back(
    params: Any, results: Results, norm: str
) -> None:
    start = results.start(_run(results, norm, 3.0))
    (found,) = [
        one for one in look_at(params, results) if (one.norm, one.gain, one.seed) == (norm, 3.0, 0)
    ]
    train, network = start.arrays.train, copy.deepcopy(start.network).double()
    parameters = list(network.parameters())

    def loss() -> torch.Tensor:
        return functional.cross_entropy(network(train.inputs.double()), train.targets)

    before = loss()
    slopes = torch.autograd.grad(before, parameters)

    def after(alpha: float) -> float:
        moved = copy.deepcopy(network)
        for one, slope in zip(moved.parameters(), slopes, strict=True):
            one.data -= alpha * slope
        return functional.cross_entropy(moved(train.inputs.double()), train.targets).item()

    assert found.rows == len(train) == 1438
    assert found.loss == pytest.approx(before.item(), rel=1e-5)
    assert found.step.alpha is not None
    assert after(found.step.alpha) <= before.item() < after(1.002 * found.step.alpha)


def test_a_report_has_every_seed_start_and_cell(reported: Report) -> None:
    found = reported

    assert [one.seed for one in found.effect.seeds] == [0, 1]
    assert found.effect.n == 2
    assert [len(table.rows) for table in found.tables] == [12, 2, 12]
    assert [figure.name for figure in found.figures] == [
        "largest-steps",
        "along-the-gradient",
        "survival",
        "trajectories",
    ]
    assert len(found.others) == 4
    assert len(found.factors) == 6
    assert all(one["differ_in"] == ["norm"] and one["same_start"] for one in found.factors)
    assert all(one["same_order"] for one in found.factors)


def test_a_report_is_the_same_again_in_whatever_order_runs_ended(
    params: Any, results: Results, reported: Report
) -> None:
    torch.manual_seed(2)

    assert repr(report(params, Results(results.runs[::-1]))) == repr(reported)


def test_paths_begin_at_the_start_and_end_at_the_end(reported: Report) -> None:
    figure = next(one for one in reported.figures if one.name == "trajectories")

    for surface in figure.panels:
        assert [len(path.x) for path in surface.paths] == [13, 13, 13]
        assert sum(path.x[-1] for path in surface.paths) == pytest.approx(0, abs=1e-5)
    assert [one.statistics for one in figure.panels] == ["", "recomputed at every point"]


def test_runs_that_are_missing_are_left_out(params: Any, results: Results) -> None:
    lost = {arm_of("none", 3.0, rate) for rate in params.rates}
    runs = [
        replace(run, state="failed", outcome=None) if run.arm in lost and run.seed == 0 else run
        for run in results.runs
    ]

    found = report(params, Results(tuple(runs)))

    assert [(one.seed, one.value is None) for one in found.effect.seeds] == [(0, True), (1, False)]
    assert found.effect.verdict == "inconclusive"
    assert any("paths of none are not drawn" in one for one in found.caveats)


def test_without_any_run_nothing_is_concluded(params: Any, results: Results) -> None:
    runs = tuple(replace(run, state="cancelled", outcome=None) for run in results.runs)

    found = report(params, Results(runs))

    assert (found.effect.n, found.effect.verdict, found.figures) == (0, "inconclusive", ())


def test_starts_from_which_no_step_is_safe_and_runs_diverge_are_reported(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    network = {"kind": "mlp", "hidden": [8] * 6, "activation": "relu"}
    wild = asked(EXPERIMENT, **{**SMALL, "network": network, "gains": [1.0, 30.0, 1e6]})
    results = results_of(plan(wild, (0,)), tmp_path_factory.mktemp("wild"))

    found = report(wild, results)

    assert any(run.has_diverged for run in results.runs)
    assert "at most this" not in found.effect.seeds[0].note
    assert found.effect.seeds[0].value is not None
    assert any("diverged at step" in str(cell) for row in found.tables[2].rows for cell in row)


def at(gain: float, alpha: float | None, bound: Any = None) -> StartAt:
    return StartAt("none", gain, 0, 1.0, LargestStep(alpha, bound, 1e-8, 1e3), 0.5, 10)


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ([(2.0, None), (0.5, None), (8.0, None)], (16.0, "")),
        ([(2.0, None), (None, "below"), (8.0, None)], (8e8, "at least")),
        ([(2.0, None), (None, "above"), (8.0, None)], (500.0, "at least")),
        ([(None, "below"), (None, "above"), (8.0, None)], (1e11, "at least")),
        ([(None, "below")] * 3, (None, "")),
        ([(None, "above")] * 3, (None, "")),
        ([(2.0, None), (0.5, None)], (None, "")),
    ],
)
def test_a_spread_is_the_longest_over_the_shortest_step(
    params: Any, steps: list[Any], wanted: Any
) -> None:
    starts = [at(gain, *step) for gain, step in zip((0.5, 1.0, 3.0), steps, strict=False)]

    found = spread(starts, params)

    assert found.value == (wanted[0] if wanted[0] is None else pytest.approx(wanted[0]))
    assert found.bound == wanted[1]


@pytest.mark.parametrize(
    ("losses", "wanted"),
    [([3.0, 1.9, 1.0], 20), ([3.0, 2.0], 20), ([3.0, 2.1], None), ([nan, inf], None)],
)
def test_a_run_arrives_at_the_first_step_with_so_low_a_loss(
    params: Any, losses: list[float], wanted: int | None
) -> None:
    (run,) = made(params, {arm_of("none", 1.0, 0.1): losses}).runs

    assert arrived(params, run) == wanted


def test_cells_are_counted_that_both_arms_have(params: Any) -> None:
    losses = {
        arm_of("none", 1.0, 0.1): [3.0, 1.0],
        arm_of("batch", 1.0, 0.1): [1.0],
        arm_of("none", 3.0, 0.1): [3.0, nan],
        arm_of("batch", 3.0, 0.1): [1.0],
        arm_of("batch", 0.5, 0.1): [1.0],
    }

    found = cells(params, made(params, losses), 0)

    assert (found["none"].value, found["batch"].value) == (1.0, 2.0)
    assert (found["none"].bound, found["batch"].bound) == ("", "")


def test_an_arm_that_arrives_nowhere_counts_as_one_cell_at_most(params: Any) -> None:
    losses = {arm_of("none", 1.0, 0.1): [3.0, nan], arm_of("batch", 1.0, 0.1): [1.0]}

    found = cells(params, made(params, losses), 0)

    assert (found["none"].value, found["none"].bound) == (1.0, "at most")
    assert cells(params, made(params, losses), 1)["none"].value is None
