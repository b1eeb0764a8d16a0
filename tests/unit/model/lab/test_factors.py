"""What two runs share before their first step, proven by hashes."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import torch

from model.lab.factors import (
    Fingerprint,
    caveats,
    compared,
    differing,
    fingerprint,
    is_one_network,
    tensor_hash,
)
from model.lab.results import Results, RunResult, Start
from model.spec import RunSpec
from tests.laboratory import dataset_folder

SPEC: dict[str, Any] = {"dataset": "wine", "network": {"kind": "mlp", "hidden": [6, 5]}}
Printed = Callable[..., Fingerprint]


def spec(**changes: Any) -> RunSpec:
    return RunSpec.model_validate(SPEC | changes)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Start]:
    """A run before its first step; keywords replace fields of its spec."""
    folder = dataset_folder("wine", tmp_path_factory.mktemp("datasets"))

    def made(**changes: Any) -> Start:
        told: dict[str, Any] = {"state": "succeeded", "outcome": "completed", "why": None}
        told |= {"step": 1, "dataset": str(folder), "series": {}, "measured": {}}
        run = RunResult(arm="", seed=0, spec=spec(**changes), checkpoints=(), **told)
        return Results((run,)).start(run)

    return made


@pytest.fixture(scope="module")
def printed(start: Callable[..., Start]) -> Printed:
    return lambda **changes: fingerprint(start(**changes))


def test_arms_that_differ_in_their_norm_share_weights_and_order(printed: Printed) -> None:
    told = compared(printed(), printed(norm="batch"), ("none", "batch"))
    assert told["arms"] == ["none", "batch"]
    assert told["differ_in"] == ["norm"]
    assert (told["same_order"], told["same_start"]) == (True, True)
    assert (told["shared_tensors"], told["different_tensors"], told["tensors_of_one"]) == (
        6,
        [],
        [],
    )
    assert told["norm_parameters"] == [[], ["1.bias", "1.weight", "4.bias", "4.weight"]]
    assert told["order_sha256"][0] == told["order_sha256"][1]
    assert caveats([told]) == ()


def test_arms_without_a_norm_layer_are_the_same_however_their_norms_differ(
    printed: Printed,
) -> None:
    layers = [{"kind": "flatten"}, {"kind": "linear", "out_features": 3}]
    network = {"kind": "layers", "layers": layers}
    told = compared(printed(network=network), printed(network=network, norm="batch"), ("a", "b"))
    assert (told["differ_in"], told["norm_layers"]) == (["norm"], [0, 0])
    assert is_one_network(told)
    assert caveats([told]) == (
        "a and b have no norm layer, so their norms make no difference between them.",
    )
    rates = ({"kind": "sgd", "lr": lr} for lr in (0.1, 1.0))
    one, two = (
        printed(network=network, norm=norm, optimizer=optimizer)
        for norm, optimizer in zip(("none", "batch"), rates, strict=True)
    )
    told = compared(one, two, ("a", "b"))
    assert not is_one_network(told)
    assert len(caveats([told])) == 1


def test_a_norm_without_parameters_is_a_norm_layer(printed: Printed) -> None:
    told = compared(
        printed(norm={"kind": "batch", "affine": False}),
        printed(norm={"kind": "batch", "affine": False, "eps": 0.1}),
        ("a", "b"),
    )
    assert (told["norm_parameters"], told["norm_layers"]) == ([[], []], [2, 2])
    assert not is_one_network(told)
    assert caveats([told]) == ()


def test_another_seed_changes_weights_and_order(printed: Printed) -> None:
    told = compared(printed(), printed(seed=1), ("one", "two"))
    assert told["differ_in"] == ["seed"]
    assert (told["same_order"], told["same_start"]) == (False, False)
    assert told["different_tensors"] == [[f"{i}.weight"] * 2 for i in (0, 2, 4)]
    assert caveats([told, told]) == (
        "one and two do not see the same rows in the same order.",
        "one and two do not start from the same weights.",
    )


def test_another_batch_size_changes_the_order_alone(printed: Printed) -> None:
    told = compared(printed(), printed(batch_size=16), ("32", "16"))
    assert (told["differ_in"], told["same_order"], told["same_start"]) == (
        *(["batch_size"], False),
        True,
    )


def test_another_gain_changes_the_weights_alone(printed: Printed) -> None:
    told = compared(printed(), printed(init={"gain": 2.0}), ("1", "2"))
    assert (told["differ_in"], told["same_order"]) == (["init.gain"], True)
    assert len(told["different_tensors"]) == 3
    assert told["shared_tensors"] == 3  # the biases are zeros in both


def test_tensors_without_a_like_one_are_named_and_not_compared(printed: Printed) -> None:
    wider = {"kind": "mlp", "hidden": [6, 7]}
    told = compared(printed(), printed(network=wider), ("5", "7"))
    assert (told["same_start"], told["shared_tensors"]) == (True, 3)
    assert told["tensors_of_one"] == ["2.weight"] * 2 + ["2.bias"] * 2 + ["4.weight"] * 2
    deeper = {"kind": "mlp", "hidden": [6, 5, 4]}
    told = compared(printed(), printed(network=deeper), ("2", "3"))
    assert told["tensors_of_one"][-2:] == ["6.weight", "6.bias"]


def test_a_fingerprint_is_of_the_tensors_that_training_starts_from(
    start: Callable[..., Start],
) -> None:
    begun = start(norm="batch")
    found = fingerprint(begun)
    state = dict(begun.network.named_parameters())
    for layer in found.layers:
        for part, sha256 in layer.hashes.items():
            assert tensor_hash(state[f"{layer.layer}.{part}"]) == sha256
            assert layer.shapes[part] == tuple(state[f"{layer.layer}.{part}"].shape)


def test_a_hash_is_of_type_shape_and_bytes() -> None:
    x = torch.arange(6.0)
    plain = hashlib.sha256(repr(("torch.float32", (6,))).encode() + x.numpy().tobytes())
    assert tensor_hash(x) == plain.hexdigest()
    others = (x.reshape(2, 3), x.double(), x + 1e-7, -x)
    assert len({tensor_hash(one) for one in (x, *others)}) == 5
    assert tensor_hash(x.reshape(2, 3).t()) == tensor_hash(x.reshape(2, 3).t().contiguous())


def test_differing_fields_are_told_once_and_without_names() -> None:
    assert differing(spec(), spec(name="x", labels={"arm": "y"}, measures=["gradients"])) == []
    sgd = spec(optimizer={"kind": "sgd", "lr": 1.0, "momentum": 0.9})
    assert differing(spec(), sgd) == ["optimizer.lr", "optimizer.momentum"]
    assert differing(spec(), spec(optimizer={"kind": "adam"})) == ["optimizer"]
    assert differing(spec(), spec(budget={"steps": 3})) == ["budget.epochs", "budget.steps"]


def test_starts_do_not_move_each_other(printed: Printed) -> None:
    assert printed() == printed()
