"""The training loop against one written by hand, against itself after a stop, at its ends."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from model.data.builtin import build as build_dataset
from model.data.dataset import describe
from model.plan import Limits, check
from model.spec import RunSpec
from model.training import loop
from model.training.arrays import Arrays, prepare
from model.training.loop import Happening, Training
from model.training.randomness import stream

UNLIMITED = Limits(10**15, 10**18)
CPU = torch.device("cpu")
DIGITS = build_dataset("digits")

ARMS: dict[str, dict[str, Any]] = {
    "batch norm": {"norm": "batch"},
    "no norm": {"norm": "none", "optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": True}},
    "adam": {"norm": {"kind": "batch", "momentum": None}, "optimizer": {"kind": "adam"}},
    "dropout": {
        "network": {
            "kind": "layers",
            "layers": [
                {"kind": "linear", "out_features": 20},
                {"kind": "norm"},
                {"kind": "activation"},
                {"kind": "dropout"},
                {"kind": "linear"},
            ],
        },
        "norm": "batch",
        "schedule": {"kind": "cosine", "warmup_steps": 7},
    },
    "with replacement": {"sampling": "with_replacement", "precision": "float64"},
    "class sorted": {"sampling": "class_sorted", "norm": "batch"},
    "best": {"select": "best", "split": {"validation": 0.2}, "checkpoint_every": {"steps": 17}},
    "deviation": {"norm": {"kind": "batch", "running": "deviation"}, "scaling": "none"},
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def training(**fields: Any) -> Training:
    body = {
        "dataset": "digits",
        "network": {"kind": "mlp", "hidden": [16]},
        "budget": {"epochs": 3},
        **fields,
    }
    dataset = DIGITS if body["dataset"] == "digits" else build_dataset(str(body["dataset"]))
    checked = check(RunSpec.model_validate(body), dataset.facts, UNLIMITED)
    return Training(checked, prepare(dataset, checked.spec, CPU), CPU)


def finish(one: Training) -> Happening:
    return list(one.run())[-1]


def test_the_loop_equals_a_loop_written_by_hand() -> None:
    ours = training(norm="batch", precision="float64", evaluate_every={"epochs": 2})
    network = nn.Sequential(
        nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 10)
    ).double()
    network.load_state_dict(ours.network.state_dict())
    _train_by_hand(network, ours.arrays, stream(0, "order"))
    end = finish(ours)
    assert end.kept is not None
    assert end.kept.tensors.keys() == network.state_dict().keys()
    for name, expected in network.state_dict().items():
        torch.testing.assert_close(end.kept.tensors[name], expected, rtol=1e-11, atol=1e-13)


def _train_by_hand(network: nn.Module, arrays: Arrays, order: torch.Generator) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):
        for rows in torch.randperm(len(arrays.train), generator=order).split(32):
            loss = nn.functional.cross_entropy(
                network(arrays.train.inputs[rows]), arrays.train.targets[rows]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("stop_at", [1, 10, 45, 60, 90])
def test_a_resumed_training_ends_with_the_bits_of_an_undisturbed_one(
    arm: str, stop_at: int
) -> None:
    whole = list(training(**ARMS[arm]).run())
    first = training(**ARMS[arm])
    before: list[Happening] = []
    for happening in first.run():
        before.append(happening)
        if happening.step >= stop_at:
            break
    point = first.resume_point()
    torch.rand(3)  # whatever else the process draws must not matter
    second = training(**ARMS[arm])
    second.resume(point)
    after = list(second.run())
    assert _scores([*before, *after]) == _scores(whole)
    _assert_same_tensors(after[-1], whole[-1])


def _scores(happenings: list[Happening]) -> list[tuple[str, int, float]]:
    return [
        (point.name, point.step, point.value)
        for happening in happenings
        for point in happening.points
        if point.name != "steps_per_second"
    ]


def _assert_same_tensors(one: Happening, other: Happening) -> None:
    assert one.kept is not None
    assert other.kept is not None
    assert one.kept.step == other.kept.step
    assert one.kept.tensors.keys() == other.kept.tensors.keys()
    for name, tensor in one.kept.tensors.items():
        assert torch.equal(tensor, other.kept.tensors[name]), name


def test_looking_at_a_training_changes_nothing_in_it() -> None:
    quiet = finish(training(evaluate_every={"steps": 1000}))
    watched = training(evaluate_every={"steps": 1}, checkpoint_every={"steps": 2})
    happenings = []
    for happening in watched.run():
        watched.resume_point()
        happenings.append(happening)
    _assert_same_tensors(quiet, happenings[-1])


def test_arms_that_differ_in_their_norm_see_the_same_weights_and_rows() -> None:
    bare, normed = training(norm="none"), training(norm="batch")
    assert torch.equal(bare.network[0].weight, normed.network[0].weight)
    assert torch.equal(bare.network[2].weight, normed.network[3].weight)
    assert torch.equal(bare.order.epoch().rows, normed.order.epoch().rows)


def test_a_small_network_learns_its_rows_by_heart() -> None:
    end = finish(training(budget={"epochs": 60}, norm="batch"))
    scores = {point.name: point.value for point in end.points}
    assert end.ended == "completed"
    assert scores["train_accuracy"] == 1.0
    assert scores["test_accuracy"] > 0.9


def test_a_training_that_diverges_ends_with_its_last_finite_network() -> None:
    one = training(
        norm="none",
        loss={"kind": "squared_error"},
        optimizer={"kind": "sgd", "lr": 100.0},
        evaluate_every={"steps": 2},
    )
    end = finish(one)
    assert end.ended == "diverged"
    assert end.step < one.checked.steps
    assert end.kept is not None
    assert end.kept.step % 2 == 0
    assert all(torch.isfinite(tensor).all() for tensor in end.kept.tensors.values())
    assert [(p.name, p.step) for p in end.points] == [("train_loss", end.step)]
    assert not math.isfinite(end.points[0].value)


def test_no_checkpoint_is_due_of_a_network_that_is_not_finite() -> None:
    one = training(
        network={"kind": "mlp", "hidden": [20, 20], "activation": "relu"},
        optimizer={"kind": "sgd", "lr": 1e3},
        checkpoint_every={"steps": 1},
        evaluate_every={"steps": 50},
    )
    happenings = list(one.run())
    end = happenings[-1]
    due = [h.snapshot for h in happenings if h.snapshot]
    assert end.ended == "diverged"
    assert all(torch.isfinite(t).all() for snapshot in due for t in snapshot.tensors.values())
    assert end.kept is not None
    assert end.kept.step == due[-1].step  # the last finite one, not the last evaluated one


def test_a_zero_deviation_behind_a_loss_that_was_not_finite_is_a_divergence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = []
    for control_steps in (1, 64):
        monkeypatch.setattr(loop, "CONTROL_STEPS", control_steps)
        one = training(
            dataset="breast_cancer",
            network={
                "kind": "layers",
                "layers": [{"kind": "activation"}, {"kind": "norm"}, {"kind": "linear"}],
            },
            norm={"kind": "batch", "eps": 0},
            optimizer={"kind": "sgd", "lr": 1e8},
            batch_size=8,
            seed=3,
        )
        end = finish(one)
        ends.append((end.ended, end.step))
    assert ends[0] == ends[1]
    assert ends[0][0] == "diverged"


def test_a_sum_of_squares_is_reported_per_row_in_training_and_in_evaluation() -> None:
    half = {"loss": {"kind": "half_sum_squares"}, "optimizer": {"kind": "sgd", "lr": 1e-12}}
    mean = {"loss": {"kind": "squared_error"}, "optimizer": {"kind": "sgd", "lr": 1e-12}}
    halves = {p.name: p.value for p in finish(training(**half)).points}
    means = {p.name: p.value for p in finish(training(**mean)).points}
    for name in ("train_loss", "test_loss"):
        assert halves[name] == pytest.approx(means[name] * 10 / 2, rel=1e-5)  # 10 outputs


def test_the_best_and_what_the_spec_asked_for_are_both_there_at_the_end() -> None:
    one = training(
        norm="batch",
        select="best",
        split={"validation": 0.2},
        optimizer={"kind": "sgd", "lr": 3.0},
        budget={"steps": 60},
        evaluate_every={"steps": 10},
        checkpoint_every={"steps": 20},
    )
    end = finish(one)
    assert end.snapshot is not None
    assert end.kept is not None
    assert one.best is not None
    assert (end.snapshot.step, end.kept.step) == (60, one.best.step)


def test_best_chooses_the_earliest_step_of_the_highest_validation_accuracy() -> None:
    one = training(**ARMS["best"], norm="batch", evaluate_every={"steps": 5})
    happenings = list(one.run())
    scores = {
        (name, step): value
        for name, step, value in _scores(happenings)
        if name.startswith("validation")
    }
    ranked = sorted(
        (-scores["validation_accuracy", step], scores["validation_loss", step], step)
        for name, step in scores
        if name == "validation_loss"
    )
    end = happenings[-1]
    assert end.kept is not None
    assert end.kept.step == ranked[0][2]


def test_a_checkpoint_is_due_at_every_multiple_and_one_at_the_end() -> None:
    happenings = list(training(budget={"steps": 50}, checkpoint_every={"steps": 20}).run())
    assert [h.snapshot.step for h in happenings if h.snapshot] == [20, 40]
    assert happenings[-1].kept is not None
    assert happenings[-1].kept.step == 50


def test_the_first_step_is_a_happening_of_its_own() -> None:
    assert next(training().run()).step == 1


def test_training_points_are_means_over_all_rows_since_the_last() -> None:
    one = training(budget={"steps": 20}, norm="none", optimizer={"kind": "sgd", "lr": 1e-12})
    points = {p.step: p.value for h in one.run() for p in h.points if p.name == "train_loss"}
    order = one.order
    order.generator.manual_seed(stream(0, "order").initial_seed())
    rows = order.epoch().rows[: 10 * 32]
    with torch.no_grad():
        logits = one.network(one.arrays.train.inputs[rows])
        expected = nn.functional.cross_entropy(logits, one.arrays.train.targets[rows]).item()
    assert math.isclose(points[10], expected, rel_tol=1e-5)


def test_wide_rows_are_evaluated_in_blocks_that_fit_into_memory() -> None:
    wide = training(network={"kind": "mlp", "hidden": [60_000]}, budget={"steps": 1})
    seen: list[int] = []
    wide.network.register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    finish(wide)
    per_row = 4 * (64 + 2 * 60_000 + 10)
    assert seen == [32, 2**26 // per_row, 2**26 // per_row, 81]  # one step, then the test rows


def test_a_batch_whose_variance_overflows_leaves_no_trace_in_the_running_statistics() -> None:
    rows = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    rows[17] = 1e25  # finite, as its loss is, but not its square
    dataset = describe(rows, np.arange(64) % 2, ("a", "b"), train_rows=64)
    body = {"dataset": "rows", "network": {"kind": "mlp", "hidden": [4]}, "norm": "batch"}
    body |= {"scaling": "none", "batch_size": 8, "budget": {"epochs": 3}, "init": {"gain": 1e-3}}
    checked = check(RunSpec.model_validate(body), dataset.facts, UNLIMITED)
    done = list(Training(checked, prepare(dataset, checked.spec, CPU), CPU).run())
    restored = [one for happening in done for one in happening.restored]
    assert [one.layers for one in restored] == [("1",)] * 3  # once an epoch
    assert done[-1].ended == "completed"
    assert done[-1].kept is not None
    assert done[-1].kept.tensors["1.num_batches_tracked"] == 24 - 3
    assert all(torch.isfinite(tensor).all() for tensor in done[-1].kept.tensors.values())
