"""The experiment on placement: closed forms, what reaches a layer, plan and report."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm
from torch import nn

from model.lab.factors import differing
from model.lab.placement.arms import Params
from model.lab.placement.closed_form import moments_behind
from model.lab.placement.experiment import EXPERIMENT
from model.lab.placement.looks import Look, Reaching, moments_reaching
from model.lab.report import Report
from model.lab.results import Results
from model.measures.probe import Block
from model.spec import Activation, BatchNorm
from tests.laboratory import asked, report_of

SMALL = {"layers": 2, "units": 30, "steps": 20, "dataset": "wine", "batch_size": 16}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Results]:
    return report_of(EXPERIMENT, tmp_path_factory.mktemp("placement"), (0, 1), **SMALL)


# Closed forms


@pytest.mark.parametrize(
    ("activation", "mean", "variance"),
    [
        ("relu", 1 / math.sqrt(2 * math.pi), 0.5 - 1 / (2 * math.pi)),
        ("identity", 0.0, 1.0),
        ("tanh", 0.0, quad(lambda z: math.tanh(z) ** 2 * norm.pdf(z), -12, 12)[0]),
        ("sigmoid", 0.5, quad(lambda z: (expit(z) - 0.5) ** 2 * norm.pdf(z), -12, 12)[0]),
    ],
)
def test_the_moments_behind_an_activation_are_exact(
    activation: Activation, mean: float, variance: float
) -> None:
    found = moments_behind(activation)
    assert found == (pytest.approx(mean, abs=1e-7), pytest.approx(variance, abs=1e-7))


@pytest.mark.parametrize(
    ("activation", "told"),
    [("relu", (0.399, 0.341)), ("tanh", (0.0, 0.394)), ("sigmoid", (0.5, 0.043))],
)
def test_the_moments_are_those_that_are_told(
    activation: Activation, told: tuple[float, float]
) -> None:
    assert moments_behind(activation) == pytest.approx(told, abs=5e-4)


@pytest.mark.parametrize("activation", ["gelu", "silu", "elu", "leaky_relu"])
def test_the_moments_are_those_of_many_draws(activation: Activation) -> None:
    z = torch.randn(2_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    function = {
        "gelu": nn.functional.gelu,
        "silu": nn.functional.silu,
        "elu": nn.functional.elu,
        "leaky_relu": nn.functional.leaky_relu,
    }[activation]
    values = function(z)
    mean, variance = moments_behind(activation)
    assert mean == pytest.approx(float(values.mean()), abs=3e-3)
    assert variance == pytest.approx(float(values.var()), abs=3e-3)


# What reaches a layer


def test_what_reaches_a_layer_is_what_a_hand_written_pass_gives_it() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    x = torch.randn(40, 5)
    blocks = [Block(x[:25], x[:25]), Block(x[25:], x[25:])]
    second, third = moments_reaching(network, blocks)
    expected = network[1](network[0](x)).detach().double()
    assert (second.layer, third.layer) == (2, 3)
    torch.testing.assert_close(second.mean, expected.mean(0))
    torch.testing.assert_close(second.variance, expected.var(0, correction=0))


def test_the_distance_is_that_of_normals_with_these_moments() -> None:
    one = Reaching(2, torch.tensor([3.0, 0.0]).double(), torch.tensor([25.0, 1.0]).double())
    assert one.distance.tolist() == [5.0, 0.0]
    assert Look("before", 0, 0, (one,)).distance == 2.5


# Plan


def test_the_arms_differ_in_the_place_of_the_norm_alone() -> None:
    by_arm = {run.arm: run.spec for run in EXPERIMENT.plan(Params(), (4,))}
    assert list(by_arm) == ["before", "after", "none"]
    assert differing(by_arm["before"], by_arm["after"]) == ["norm.placement"]
    assert differing(by_arm["before"], by_arm["none"]) == ["norm"]
    assert isinstance(by_arm["after"].norm, BatchNorm)
    assert by_arm["after"].norm.placement == "after_activation"


def test_every_param_is_in_the_specs() -> None:
    changed = Params(
        dataset="wine", activation="tanh", layers=2, units=7, rate=0.5, batch_size=9, steps=11
    )
    (spec, *_) = [run.spec for run in EXPERIMENT.plan(changed, (0,))]
    assert spec.network.model_dump()["hidden"] == (7, 7)
    assert spec.network.model_dump()["activation"] == "tanh"
    assert (spec.dataset, spec.optimizer.lr, spec.batch_size) == ("wine", 0.5, 9)
    assert spec.budget.steps == 11


# Report


def test_behind_the_activation_the_next_layer_gets_mean_0_and_variance_1(
    found: tuple[Report, Results],
) -> None:
    report, _ = found
    table = report.tables[0]
    starts = [row for row in table.rows if row[2] == 0]
    assert {row[3] for row in starts} == {2, 3}
    for arm, _, _, _, mean, variance, distance in starts:
        if arm == "after":
            assert mean == pytest.approx(0, abs=1e-6)
            assert variance == pytest.approx(1, abs=1e-3)
            assert distance < 1e-3
        if arm == "before":
            assert mean == pytest.approx(0.399, abs=0.06)
    assert report.effect.verdict == "supports"
    assert 0.3 < report.effect.value < 0.7


def test_with_identity_there_is_no_difference(tmp_path) -> None:
    report, _ = report_of(EXPERIMENT, tmp_path, (0, 1), **{**SMALL, "activation": "identity"})
    assert report.effect.value == pytest.approx(0, abs=1e-4)
    assert report.effect.verdict == "contradicts"


def test_the_places_are_proven_to_share_weights_and_order(found: tuple[Report, Results]) -> None:
    report, _ = found
    both = [proof for proof in report.factors if proof["arms"] == ["before", "after"]]
    assert len(both) == 2
    for proof in both:
        assert proof["differ_in"] == ["norm.placement"]
        assert proof["same_order"]
        assert proof["same_start"]


def test_there_is_a_look_at_the_start_and_at_every_checkpoint(
    found: tuple[Report, Results],
) -> None:
    report, _ = found
    assert [one.name for one in report.figures] == ["start", "moments", "training"]
    for panel in report.figures[1].panels:
        assert [len(curve.x) for curve in panel.curves] == [11, 11, 11]
        assert panel.curves[0].x[-1] == 20


def test_it_says_what_one_held_out_row_is_in_an_accuracy(found: tuple[Report, Results]) -> None:
    report, _ = found
    assert "36 held-out rows, of which one is 2.8 points" in " ".join(report.caveats)  # of 178


def test_the_report_is_the_same_again(found: tuple[Report, Results]) -> None:
    report, results = found
    assert EXPERIMENT.report(asked(EXPERIMENT, **SMALL), results) == report


def test_a_run_that_diverged_is_the_worst_accuracy(found: tuple[Report, Results]) -> None:
    _, results = found
    runs = [
        replace(run, outcome="diverged", step=3) if run.arm == "after" else run
        for run in results.runs
    ]
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(tuple(runs)))
    accuracy = next(one for one in report.others if "accuracy after" in one.declared.name)
    assert accuracy.value < -50
    assert "after diverged at step 3" in accuracy.seeds[0].note
    assert "Diverged, and counted as an accuracy of 0" in " ".join(report.caveats)


def test_before_the_first_step_no_run_has_diverged(found: tuple[Report, Results]) -> None:
    told, results = found
    runs = tuple(replace(run, outcome="diverged", step=3) for run in results.runs)
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(runs))
    assert report.effect == told.effect
    after = next(one for one in report.others if "after training" in one.declared.name)
    assert after.seeds[0].note.count("diverged at step 3: as it was last kept") == 2


def test_runs_that_failed_are_left_out(found: tuple[Report, Results]) -> None:
    _, results = found
    runs = [
        replace(run, state="failed", outcome=None, why="lost") if run.seed == 1 else run
        for run in results.runs
    ]
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(tuple(runs)))
    assert (report.effect.n, report.effect.verdict) == (1, "inconclusive")


def test_without_any_run_there_is_no_verdict() -> None:
    report = EXPERIMENT.report(Params(), Results(()))
    assert (report.effect.n, report.effect.verdict, report.figures) == (0, "inconclusive", ())
