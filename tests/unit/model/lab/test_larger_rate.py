"""Whether batch norm gives more than a larger learning rate: plan, crossings, and the report."""

from dataclasses import replace
from math import isnan
from statistics import median
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from model.errors import SpecRefused
from model.lab.factors import differing
from model.lab.larger_rate.beginnings import look_at
from model.lab.larger_rate.crossings import GONE, chosen, look, outcome, ratio
from model.lab.larger_rate.experiment import EXPERIMENT, LONGEST, report
from model.lab.larger_rate.noise import BATCHES
from model.lab.larger_rate.plan import NORMS, deep_arm, plan, trained_arm
from model.lab.report import Report
from model.lab.results import Measured, Results, RunResult
from model.measures.objective import parameters_of
from model.measures.rows import rows_of
from model.networks.residual import Residual
from tests.laboratory import asked, results_of

SMALL = {
    "network": {"kind": "residual_mlp", "blocks": 12, "width": 16},
    "trained_network": {"kind": "mlp", "hidden": [16, 16], "activation": "relu"},
    "rates_without_norm": [1.0, 1e-5],
    "batches": [1, 3],
    "steps": 20,
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


def test_the_deep_network_and_the_trained_one_are_planned_with_and_without_norm() -> None:
    found = plan(asked(EXPERIMENT), (0, 3))

    assert {run.arm for run in found} == {
        "deep, none, rate 0.0001",
        "deep, none, rate 1e-07",
        "deep, batch, rate 0.1",
        "none, rate 0.001",
        "batch, rate 0.001",
        "none, rate 0.1",
        "batch, rate 0.1",
    }
    assert len(found) == 14
    assert {run.spec.budget.steps for run in found if run.arm.startswith("deep")} == {7}


def test_arms_at_one_rate_differ_in_the_norm_alone(params: Any) -> None:
    specs = {run.arm: run.spec for run in plan(params, (0,))}
    arms = [specs[trained_arm(norm, 0.001)] for norm in ("none", "batch")]  # type: ignore[arg-type]

    assert differing(*arms) == ["norm"]


def test_the_published_setting_is_filled_in_where_nothing_else_is_asked_for() -> None:
    paper = asked(EXPERIMENT, scale="paper", dataset="cifar", small_rate=0.003)
    specs = {run.arm: run.spec for run in plan(paper, (0,))}

    assert set(specs) == {
        "deep, none, rate 0.0001",
        "deep, batch, rate 0.1",
        "none, rate 0.003",
        "batch, rate 0.003",
        "none, rate 0.1",
        "batch, rate 0.1",
    }
    assert {(one.network.kind, one.network.depth) for one in specs.values()} == {("resnet", 110)}
    assert specs["batch, rate 0.1"].budget.steps == 64_350
    assert specs["batch, rate 0.1"].schedule.every_steps == 32_175


def test_the_published_setting_is_refused_on_digits() -> None:
    with pytest.raises(SpecRefused, match="CIFAR-10"):
        plan(asked(EXPERIMENT, scale="paper"), (0,))


@pytest.mark.parametrize(
    "wrong",
    [
        {"rates_without_norm": [1e-7, 1e-4]},
        {"rates_without_norm": []},
        {"batches": [0]},
        {"batches": [1, 1]},
        {"batches": [4, 1]},
        {"network": {"kind": "unknown"}},
    ],
)
def test_params_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        asked(EXPERIMENT, **wrong)


@pytest.mark.parametrize("small", [0.1, 1.0, 0.0999999999])
def test_rates_that_make_no_two_arms_are_refused(small: float) -> None:
    with pytest.raises(SpecRefused, match="must be below large_rate") as caught:
        plan(asked(EXPERIMENT, small_rate=small), (0,))
    assert caught.value.path == "small_rate"


def test_a_report_has_every_arm_and_seed(reported: Report) -> None:
    assert [one.seed for one in reported.effect.seeds] == [0, 1]
    assert [len(table.rows) for table in reported.tables] == [6, 4, 4, 4]
    assert [one.name for one in reported.figures] == [
        "relative-loss",
        "accuracy",
        "depth",
        "gradients",
        "update",
        "output-gradients",
    ]
    assert len(reported.others) == 8
    assert {tuple(one["differ_in"]) for one in reported.factors} == {
        ("norm",),
        ("norm", "optimizer.lr"),
    }
    assert all(one["same_start"] and one["same_order"] for one in reported.factors)


def test_a_report_is_the_same_again(params: Any, results: Results, reported: Report) -> None:
    torch.manual_seed(3)

    assert repr(report(params, results)) == repr(reported)


def test_the_deep_network_is_followed_at_the_largest_rate_at_which_it_gets_there(
    params: Any, results: Results
) -> None:
    assert look(_run(results, "deep, none, rate 1"), 3) == GONE

    found = chosen(params, results, "none", 0)

    assert found is not None
    assert found.arm == "deep, none, rate 1e-05"


def _run(results: Results, arm: str, seed: int = 0) -> RunResult:
    return next(run for run in results.of(arm) if run.seed == seed)


@pytest.mark.parametrize(("norm", "rate"), [("none", 1e-5), ("batch", 0.1)])
def test_what_depth_does_before_the_first_step_is_what_torch_says(
    params: Any, results: Results, norm: Any, rate: float
) -> None:
    found = next(one for one in look_at(params, results) if (one.norm, one.seed) == (norm, 0))
    start = results.start(_run(results, deep_arm(norm, rate)))
    rows = torch.randperm(1438, generator=_order(start))[:128]
    x, y = start.arrays.train.inputs[rows].double(), start.arrays.train.targets[rows]
    network, behind = start.network.double(), []
    blocks = [one for one in network if isinstance(one, Residual)]
    for block in (blocks[0], blocks[-1]):
        block.register_forward_hook(lambda _, __, out: behind.append(out.std(0, correction=0)))
    outputs = network(x)
    functional.cross_entropy(outputs, y).backward()
    slopes = {name: one.grad for name, one in network.named_parameters()}
    names = [name for name in parameters_of(network) if slopes[name].dim() == 2]
    middle = slopes[names[len(names) // 2]].abs().flatten()
    counted = outputs.argmax(1).bincount().max().item()

    assert len(found.depth) == 12
    assert found.growth == pytest.approx((behind[1].mean() / behind[0].mean()).item())
    assert found.gradient.largest == pytest.approx(middle.max().item())
    assert found.exceeded[-1] == pytest.approx(median(middle.tolist()), rel=0.05)
    assert found.outputs.same_class == counted / 128
    assert 0 < found.left <= 1


def _order(start: Any) -> torch.Generator:
    generator: torch.Generator = start.training.order.generator
    return generator


def test_the_noise_of_a_step_is_that_of_mini_batches_and_beside_its_bound(
    params: Any, results: Results, reported: Report
) -> None:
    table = reported.tables[3]
    rows = {(row[0], row[1]): row[2:] for row in table.rows}
    drawn = torch.Generator().manual_seed(0)
    batches = [torch.randperm(512, generator=drawn)[:128] for _ in range(BATCHES)]
    for norm in NORMS:
        start = results.start(_run(results, trained_arm(norm, 0.1)))
        index = rows_of(start.checked, start.arrays.train).order[:512]
        x, y = start.arrays.train.inputs[index].double(), start.arrays.train.targets[index]
        network = start.network.double()

        def slope(chosen: Any, network: Any = network, x: Any = x, y: Any = y) -> torch.Tensor:
            loss = functional.cross_entropy(network(x[chosen]), y[chosen])
            found = torch.autograd.grad(loss, list(network.parameters()))
            return torch.cat([one.flatten() for one in found])

        wanted = torch.stack([slope(one) for one in batches]).var(0).sum().item()
        small, large, *bounds = rows[norm, 0]
        assert (small, large) == (pytest.approx(wanted * 1e-6), pytest.approx(wanted * 1e-2))
        if norm == "batch":
            assert bounds == [None, None, None]
            continue
        constant = torch.stack([slope([n]) for n in range(512)]).var(0, correction=0).sum().item()
        assert bounds[:2] == pytest.approx([1e-6 * constant / 128, 1e-2 * constant / 128])
        assert bounds[2] == pytest.approx(wanted / (constant / 128))
        assert bounds[2] == pytest.approx((512 - 128) / 511, rel=0.3)


def made(results: Results, told: dict[str, list[Any]]) -> Results:
    """The deep runs of seed 0 with these first crossings at mini-batches 1 and 3.

    A number is the crossing, "below" and "above" are bounds, None: there is no reading.
    """
    runs = []
    for arm, crossings in told.items():
        looks = [(0, crossings[0]), (2, crossings[1])]
        found = tuple(Measured(step, _data(one)) for step, one in looks if one is not None)
        runs.append(replace(_run(results, arm), measured={"relative_loss": found}))
    return Results(tuple(runs))


def _data(crossing: float | str) -> dict[str, Any]:
    is_bound = isinstance(crossing, str)
    raised = {"alpha": None, "bound": crossing} if is_bound else {"alpha": crossing, "bound": None}
    return {"alphas": [1e-4, 1.0], "ratios": [0.5, None], "raised": raised}


@pytest.mark.parametrize(
    ("none", "batch", "wanted", "note"),
    [
        ([1e-3, 1e-2], [0.1, 0.4], 70.0, ""),
        ([1e-3, "below"], [0.1, 0.4], 100.0, "mini-batch 3: without norm below the grid"),
        (["below", None], [0.1, 0.4], None, "no ratio"),
        ([1e-3, 1e-3], ["above", "above"], 1e3, "at least this"),
        ([1e-3, 1e-3], ["below", "below"], 0.1, "at most this"),
        ([1e-3, 1e-3], [None, None], 0.1, "batch has diverged: at most this"),
        (["above", "above"], [0.1, 0.1], 0.1, "at most this"),
    ],
)
def test_a_seed_is_the_median_over_mini_batches_and_a_lost_network_is_no_ratio(
    params: Any, results: Results, none: list[Any], batch: list[Any], wanted: Any, note: str
) -> None:
    runs = made(results, {"deep, none, rate 1e-05": none, "deep, batch, rate 0.1": batch})

    found = ratio(LONGEST, params, runs, 0)

    assert found.value == (wanted if wanted is None else pytest.approx(wanted))
    assert note in found.note
    assert found.bound == next((b for b in ("at least", "at most") if f"{b} this" in note), "")


def test_a_median_of_ratios_that_are_bounds_from_both_sides_is_open(
    params: Any, results: Results
) -> None:
    told = {"deep, none, rate 1e-05": [1e-3, 1e-3], "deep, batch, rate 0.1": ["above", "below"]}
    found = ratio(LONGEST, params, made(results, told), 0)
    assert found.value is None
    assert "at least this" in found.note
    assert "at most this" in found.note


def test_a_reading_of_a_lost_network_is_none() -> None:
    assert outcome(GONE, "batch").value is None


def test_without_any_run_nothing_is_concluded(params: Any, results: Results) -> None:
    runs = tuple(replace(run, state="cancelled", outcome=None) for run in results.runs)

    found = report(params, Results(runs))

    assert (found.effect.n, found.effect.verdict, found.figures) == (0, "inconclusive", ())


def test_an_arm_that_failed_leaves_its_seed_without_a_number(params: Any, results: Results) -> None:
    runs = [
        replace(run, state="failed", outcome=None)
        if run.arm == "deep, batch, rate 0.1" and run.seed == 0
        else run
        for run in results.runs
    ]

    found = report(params, Results(tuple(runs)))

    assert [one.value is None for one in found.effect.seeds] == [True, False]
    assert len(found.tables[2].rows) == 3


def test_a_network_that_is_not_finite_at_the_start_is_reported(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    deep = {"network": {"kind": "residual_mlp", "blocks": 200, "width": 8}, "batches": [1]}
    params = asked(EXPERIMENT, **{**SMALL, **deep, "rates_without_norm": [1e-5]})
    planned = [run for run in plan(params, (0,)) if run.arm == "deep, none, rate 1e-05"]
    results = results_of(planned, tmp_path_factory.mktemp("deep"))

    found = report(params, results)

    assert results.runs[0].has_diverged
    assert len(found.tables[2].rows) == 1
    assert found.effect.verdict == "inconclusive"
    assert not any(isnan(one.value) for one in found.effect.seeds if one.value is not None)
