import hashlib

import pytest
import torch
from torch import nn

from model.statistics.fingerprint import fingerprint, is_statistic, weights_hash


@pytest.fixture
def tensors():
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    for index, tensor in enumerate(network.state_dict().values()):
        tensor.fill_(index + 1)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("1.running_mean", True),
        ("3.branch.0.running_var", True),
        ("running_deviation", True),
        ("1.num_batches_tracked", True),
        ("1.weight", False),
        ("running_mean.weight", False),
        ("1.my_running_mean", False),
    ],
)
def test_a_name_says_what_a_tensor_is(name, is_one):
    assert is_statistic(name) == is_one


def test_the_fingerprint_is_the_sha256_of_name_type_shape_and_bytes():
    mean = torch.tensor([1.0, 2.0])
    content = b'["1.running_mean", "float32", [2]]' + b"\x00\x00\x80\x3f\x00\x00\x00\x40"

    found = fingerprint({"1.weight": mean, "1.running_mean": mean})

    assert found == "sha256:" + hashlib.sha256(content).hexdigest()


def test_order_and_layout_do_not_matter(tensors):
    backwards = dict(reversed(tensors.items()))
    strided = {**tensors, "1.running_mean": tensors["1.running_mean"].repeat(2, 1).t()[:, 0]}

    assert fingerprint(backwards) == fingerprint(strided) == fingerprint(tensors)


CHANGES = {
    "one value": lambda t: t["1.running_var"].__setitem__(0, 1.5),
    "the counter": lambda t: t["1.num_batches_tracked"].add_(1),
    "the type": lambda t: t.update({"1.running_mean": t["1.running_mean"].double()}),
    "the shape": lambda t: t.update({"1.running_mean": t["1.running_mean"].view(3, 1)}),
    "the name": lambda t: t.update({"4.running_mean": t.pop("1.running_mean")}),
    "the layer": lambda t: t.update(
        {
            "1.running_mean": t["2.running_mean"],
            "2.running_mean": t["1.running_mean"],
        }
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_of_a_statistic_changes_the_fingerprint_alone(tensors, change):
    statistics, weights = fingerprint(tensors), weights_hash(tensors)

    change(tensors)

    assert fingerprint(tensors) != statistics
    assert weights_hash(tensors) == weights


def test_a_change_of_a_weight_changes_the_weights_hash_alone(tensors):
    statistics, weights = fingerprint(tensors), weights_hash(tensors)

    tensors["0.weight"][0, 0] = 9

    assert fingerprint(tensors) == statistics
    assert weights_hash(tensors) != weights


def test_without_statistics_it_is_the_hash_of_nothing():
    empty = "sha256:" + hashlib.sha256().hexdigest()

    assert fingerprint({"0.weight": torch.ones(2)}) == empty


def test_types_that_numpy_lacks_have_a_fingerprint():
    half = {"1.running_mean": torch.ones(3, dtype=torch.bfloat16)}

    assert fingerprint(half) != fingerprint({"1.running_mean": torch.ones(3)})
