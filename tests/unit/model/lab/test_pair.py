"""The kind `pair`: its plan, its effect and its proof, on hand-made and on trained runs."""

from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from model.errors import SpecRefused
from model.lab.pair import EXPERIMENT, PairParams
from model.lab.results import Results, RunResult, Series
from model.spec import RunSpec
from tests.laboratory import dataset_folder, report_of

BASE: dict[str, Any] = {
    "dataset": "wine",
    "network": {"kind": "mlp", "hidden": [5]},
    "budget": {"steps": 20},
}


def params(**changes: Any) -> PairParams:
    return PairParams.model_validate({"base": BASE} | changes)


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(dataset_folder("wine", tmp_path_factory.mktemp("datasets")))


def run(
    dataset: str,
    arm: str,
    seed: int,
    values: dict[int, float],
    name: str = "test_accuracy",
    **more: Any,
) -> RunResult:
    norm = "batch" if arm == "batch" else "none"
    spec = RunSpec.model_validate(BASE | {"norm": norm, "seed": seed})
    told: dict[str, Any] = {"state": "succeeded", "outcome": "completed", "why": None}
    told |= {"step": max(values), "measured": {}, "checkpoints": (), "spec": spec}
    series = {name: Series(tuple(values), tuple(values.values()))}
    return RunResult(arm=arm, seed=seed, dataset=dataset, series=series, **told | more)


def test_every_arm_is_planned_on_every_seed_seed_by_seed() -> None:
    planned = EXPERIMENT.plan(params(), [4, 7])
    assert [(one.arm, one.seed) for one in planned] == [
        *(("none", 4), ("batch", 4), ("none", 7), ("batch", 7))
    ]
    for one in planned:
        assert (one.spec.norm.kind, one.spec.seed) == (one.arm, one.seed)
        assert one.spec.budget.steps == 20


def test_arms_may_differ_in_any_field() -> None:
    asked = params(factor="optimizer.lr", arms={"low": 0.1, "high": 1.0})
    assert [one.spec.optimizer.lr for one in EXPERIMENT.plan(asked, [0])] == [0.1, 1.0]


def test_two_arms_that_are_the_same_are_refused() -> None:
    with pytest.raises(SpecRefused, match="the same as arm a") as refused:
        EXPERIMENT.plan(params(arms={"a": "batch", "b": {"kind": "batch"}}), [0])
    assert refused.value.path == "arms.b"


@pytest.mark.parametrize(
    "wrong",
    [
        {"factor": "seed"},
        {"factor": "labels.arm"},
        {"arms": {"one": "none"}},
        {"arms": {"": "none", "b": "batch"}},
        {"arms": {str(i): {"kind": "batch", "eps": 0.1 * i} for i in range(9)}},
        {"base": BASE | {"seed": 1}},
        {"margin": -0.1},
        {"metric": "Test Accuracy"},
        {"scale": "paper"},
    ],
)
def test_params_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        params(**wrong)


def test_the_effect_is_the_second_arm_less_the_first_by_seed(wine: str) -> None:
    results = Results(
        (
            *(run(wine, "none", seed, {10: 0.1, 20: 0.5 + 0.1 * seed}) for seed in range(3)),
            *(run(wine, "batch", seed, {10: 0.9, 20: 0.8 + 0.1 * seed}) for seed in range(3)),
        )
    )
    told = EXPERIMENT.report(params(), results)
    assert [one.value for one in told.effect.seeds] == pytest.approx([0.3, 0.3, 0.3])
    assert told.effect.verdict == "supports"
    assert told.effect.declared.name == "test_accuracy: batch - none"
    table = told.tables[0]
    assert table.columns == ("arm", "seed 0", "seed 1", "seed 2", "mean")
    assert table.rows[0] == ("none", 0.5, 0.6, 0.7, pytest.approx(0.6))
    assert "0.6 with none (n = 3), 0.9 with batch (n = 3)" in told.summary
    mean = EXPERIMENT.report(params(at="mean"), results)
    assert [one.value for one in mean.effect.seeds] == pytest.approx([0.55, 0.55, 0.55])


def test_within_the_margin_is_no_effect(wine: str) -> None:
    results = Results(
        (
            *(run(wine, "none", seed, {20: 0.5}) for seed in range(3)),
            *(run(wine, "batch", seed, {20: 0.51 + 0.001 * seed}) for seed in range(3)),
        )
    )
    assert EXPERIMENT.report(params(), results).effect.verdict == "supports"
    assert EXPERIMENT.report(params(margin=0.05), results).effect.verdict == "contradicts"


def test_a_lower_loss_can_be_claimed(wine: str) -> None:
    results = Results(
        (
            *(run(wine, "none", seed, {20: 0.5}, "test_loss") for seed in range(2)),
            *(run(wine, "batch", seed, {20: 0.2}, "test_loss") for seed in range(2)),
        )
    )
    asked = {"metric": "test_loss", "claimed": "below"}
    assert EXPERIMENT.report(params(**asked), results).effect.verdict == "supports"
    assert EXPERIMENT.report(params(metric="test_loss"), results).effect.verdict == "contradicts"


def test_a_diverged_arm_counts_as_the_worst_and_is_named(wine: str) -> None:
    diverged = {"outcome": "diverged", "step": 12}
    results = Results(
        (
            run(wine, "none", 0, {10: 0.9}, **diverged),
            run(wine, "batch", 0, {10: 0.8, 20: 0.8}),
        )
    )
    told = EXPERIMENT.report(params(), results)
    assert told.effect.value == pytest.approx(0.8)
    assert told.effect.seeds[0].note == "none diverged at step 12"
    assert told.caveats == ("Diverged, and counted as 0: none, seed 0.",)
    losses = Results(
        (
            run(wine, "none", 0, {5: 3.0, 10: inf}, "test_loss", **diverged),
            run(wine, "batch", 0, {10: 2.0, 20: 0.5}, "test_loss"),
        )
    )
    told = EXPERIMENT.report(params(metric="test_loss"), losses)
    assert told.effect.value == pytest.approx(0.5 - 3.0)


@pytest.mark.parametrize("at", ["last", "mean"])
@pytest.mark.parametrize("metric", ["test_accuracy", "test_loss"])
def test_two_diverged_arms_are_no_pair(wine: str, at: str, metric: str) -> None:
    """A difference of 0 would say that the norm is known to make none."""
    runs = tuple(
        run(wine, arm, seed, {10: 0.5, step: nan}, metric, outcome="diverged", step=step)
        for arm, step in (("none", 12), ("batch", 15))
        for seed in range(3)
    )
    told = EXPERIMENT.report(params(metric=metric, at=at), Results(runs))
    assert (told.effect.n, told.effect.verdict) == (0, "inconclusive")
    assert told.effect.seeds[0].note == "batch diverged at step 15; none diverged at step 12"


def test_the_arm_that_diverges_last_has_not_trained_to_its_end(wine: str) -> None:
    """By a mean over all of training, which for it is that up to the last step of any run."""
    runs = (
        run(wine, "none", 0, {10: 0.9}, outcome="diverged", step=30),
        run(wine, "batch", 0, {10: 0.4, 20: 0.6}),
    )
    told = EXPERIMENT.report(params(at="mean"), Results(runs))
    assert told.effect.value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("claimed", "verdict"), [("below", "inconclusive"), ("above", "contradicts")]
)
def test_a_diverged_loss_is_larger_than_any_number_that_stands_for_it(
    wine: str, claimed: str, verdict: str
) -> None:
    """None is counted as 0.52, which is within the margin of batch; the truth is not."""
    diverged = {"outcome": "diverged", "step": 12}
    runs = [run(wine, "none", seed, {10: 0.52}, "test_loss", **diverged) for seed in range(3)]
    runs += [run(wine, "batch", seed, {20: 0.5}, "test_loss") for seed in range(3)]
    asked = params(metric="test_loss", claimed=claimed, margin=0.1)
    told = EXPERIMENT.report(asked, Results(tuple(runs)))
    assert [one.bound for one in told.effect.seeds] == ["at most"] * 3
    assert told.effect.verdict == verdict


def test_a_loss_that_is_nowhere_finite_is_no_number(wine: str) -> None:
    runs = (
        run(wine, "none", 0, {10: nan}, "test_loss", outcome="diverged", step=12),
        run(wine, "batch", 0, {20: inf}, "test_loss"),
    )
    told = EXPERIMENT.report(params(metric="test_loss"), Results(runs))
    assert told.effect.seeds[0].value is None
    assert "No run has a finite test_loss." in told.caveats


def test_a_failed_run_is_not_the_worst_that_a_diverged_one_stands_for(wine: str) -> None:
    runs = (
        run(wine, "none", 0, {10: 3.0}, "test_loss", outcome="diverged", step=12),
        run(wine, "batch", 0, {20: 0.5}, "test_loss"),
        run(wine, "none", 1, {10: 99.0}, "test_loss", state="failed", outcome=None),
    )
    told = EXPERIMENT.report(params(metric="test_loss"), Results(runs))
    assert told.effect.value == pytest.approx(0.5 - 3.0)


def test_arms_that_are_one_network_are_not_compared(tmp_path: Path) -> None:
    network = {"kind": "layers", "layers": [{"kind": "linear", "out_features": 3}]}
    told, _ = report_of(EXPERIMENT, tmp_path, seeds=(0, 1), base=BASE | {"network": network})
    assert (told.effect.n, told.effect.verdict) == (0, "inconclusive")
    note = "none and batch have no norm layer, so their norms make no difference between them."
    assert told.caveats == (note,)
    assert [one.note for one in told.effect.seeds] == ["the arms are one network"] * 2


def test_further_arms_are_judged_too(wine: str) -> None:
    arms = {"none": "none", "batch": "batch", "layer": "layer"}
    results = Results(
        tuple(run(wine, arm, 0, {20: 0.1 * i}) for i, arm in enumerate(arms, start=1))
    )
    told = EXPERIMENT.report(params(arms=arms), results)
    (other,) = told.others
    assert (other.declared.name, other.value) == (
        "test_accuracy: layer - none",
        pytest.approx(0.2),
    )


def test_what_is_not_there_is_said(wine: str) -> None:
    lost = run(wine, "none", 0, {20: 0.5}, state="failed", outcome=None, why="Its rows are gone.")
    told = EXPERIMENT.report(params(), Results((lost, run(wine, "batch", 0, {20: 0.9}))))
    assert (told.effect.n, told.effect.verdict) == (0, "inconclusive")
    assert "no seed in which both arms can be compared" in told.summary
    told = EXPERIMENT.report(
        params(metric="other"), Results((run(wine, "batch", 0, {20: 0.9}), lost))
    )
    assert told.caveats == ("No run has a metric other; they have test_accuracy.",)
    nothing = EXPERIMENT.report(params(), Results((lost,)))
    assert (nothing.figures, nothing.effect.value) == ((), None)


def test_trained_arms_are_proven_to_differ_in_their_factor_alone(tmp_path: Path) -> None:
    told, results = report_of(EXPERIMENT, tmp_path, seeds=(0, 1), base=BASE)
    assert [(one["seed"], one["differ_in"]) for one in told.factors] == [
        (0, ["norm"]),
        (1, ["norm"]),
    ]
    assert all(one["same_order"] and one["same_start"] for one in told.factors)
    last = [run.last("test_accuracy") for run in results.runs]
    assert None not in last
    assert told.effect.seeds[0].value == pytest.approx((last[1] or 0) - (last[0] or 0))
    assert [figure.name for figure in told.figures] == ["curves", "arms"]
