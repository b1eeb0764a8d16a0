"""What the experiment on internal covariate shift asks for."""

from typing import Any

import pytest

from model.errors import SpecRefused
from model.lab.covariate_shift.experiment import EXPERIMENT
from model.lab.experiment import PlannedRun
from tests.laboratory import asked


def planned(seeds: tuple[int, ...] = (0,), **params: Any) -> tuple[PlannedRun, ...]:
    return EXPERIMENT.plan(asked(EXPERIMENT, **params), seeds)


def test_three_networks_are_trained_without_norm_and_with_it_seed_by_seed() -> None:
    runs = planned((0, 1))
    assert [(run.arm, run.seed) for run in runs] == [
        (f"{network}, {norm}", seed)
        for seed in (0, 1)
        for network in ("deep_linear", "mlp", "vgg")
        for norm in ("none", "batch")
    ]


def test_arms_differ_in_their_norm_alone() -> None:
    runs = planned(network="mlp")
    first, second = (run.spec.model_dump(exclude={"norm"}) for run in runs)
    assert first == second
    assert [run.spec.norm.kind for run in runs] == ["none", "batch"]


def test_the_published_deep_linear_network_is_trained_as_published() -> None:
    spec = planned(network="deep_linear", scale="paper")[0].spec.model_dump(mode="json")
    assert spec["network"] == {"kind": "deep_linear", "layers": 25, "width": None}
    assert (spec["dataset"], spec["scaling"]) == ("gaussian_linear", "none")
    assert spec["loss"] == {"kind": "half_sum_squares"}
    assert (spec["optimizer"]["lr"], spec["optimizer"]["momentum"]) == (1e-7, 0)
    assert (spec["batch_size"], spec["budget"]) == (1_000, {"steps": 10_000})
    assert spec["init"]["kind"] == "xavier_normal"
    assert spec["measures"] == [
        {"kind": "covariate_shift", "every": 50, "layers": [9, 17, 24]},
        {"kind": "input_shift", "every": 50},
    ]


def test_the_published_vgg_wants_images_and_the_published_mlp_does_not_exist() -> None:
    (one, _) = planned(network="vgg", scale="paper", dataset="cifar10")
    network = one.spec.model_dump(mode="json")["network"]
    assert (network["depth"], network["width"], network["image_shape"]) == (16, 1.0, None)
    assert one.spec.budget.steps == 15_000
    with pytest.raises(SpecRefused, match="CIFAR-10") as refused:
        planned(network="vgg", scale="paper")
    assert refused.value.path == "dataset"
    with pytest.raises(SpecRefused, match="no published setting of mlp") as refused:
        planned(network="mlp", scale="paper")
    assert refused.value.path == "scale"


def test_in_all_at_paper_size_only_the_deep_linear_network_grows() -> None:
    steps = {run.arm: run.spec.budget.steps for run in planned(scale="paper")}
    assert steps["deep_linear, none"] == 10_000
    assert (steps["mlp, none"], steps["vgg, batch"]) == (500, 300)


def test_a_users_own_rows_rate_batches_and_steps_are_those_of_every_run() -> None:
    asked_for = {"dataset": "mine", "lr": 0.03, "batch_size": 16, "steps": 7}
    for run in planned(**asked_for, image_shape=(3, 4, 4)):
        spec = run.spec.model_dump(mode="json")
        assert (spec["dataset"], spec["batch_size"]) == ("mine", 16)
        assert (spec["optimizer"]["lr"], spec["budget"]) == (0.03, {"steps": 7})
        assert spec["network"].get("image_shape", [3, 4, 4]) == [3, 4, 4]
