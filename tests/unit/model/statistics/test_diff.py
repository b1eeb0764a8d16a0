import json

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from model import spec
from model.errors import ShapeMismatch
from model.norms.batch import BatchNorm
from model.statistics.diff import difference


def network(mean, variance, eps=0.0):
    layer = BatchNorm(len(mean), spec.BatchNorm(kind="batch", eps=eps))
    layer.running_mean.copy_(torch.tensor(mean))
    layer.running_var.copy_(torch.tensor(variance))
    return nn.Sequential(layer)


def test_kl_cosine_and_z_are_those_of_the_normal_distributions():
    a, b = network([0.0, 3.0, -1.0], [1.0, 4.0, 0.25]), network([1.0, 3.0, 1.0], [2.0, 1.0, 0.25])
    p, q = (Normal(n[0].running_mean.double(), n[0].running_var.double().sqrt()) for n in (a, b))
    kl = (kl_divergence(p, q) + kl_divergence(q, p)) / 2

    [row] = difference(a, b)["layers"]

    assert row["kl_mean"] == pytest.approx(float(kl.mean()))
    assert row["kl_max"] == pytest.approx(float(kl.max()))
    assert row["mean_cosine"] == pytest.approx(8 / (10 * 11) ** 0.5)
    assert row["variance_cosine"] == pytest.approx((2 + 4 + 1 / 16) / (17.0625 * 5.0625) ** 0.5)
    assert (row["largest_z"], row["z_channel"]) == (pytest.approx(4.0), 2)


def test_equal_statistics_do_not_differ():
    one = network([0.0, 0.0], [0.0, 1.0])

    [row] = difference(one, one)["layers"]

    assert [row[name] for name in ("kl_mean", "kl_max", "largest_z")] == [0, 0, 0]
    assert row["mean_cosine"] == row["variance_cosine"] == 1


def test_layers_that_only_one_has_are_named():
    one = network([0.0], [1.0])
    two = nn.Sequential(nn.Tanh(), *one)

    told = difference(one, two)

    assert told == {"layers": [], "only_first": ["0"], "only_second": ["1"]}


def test_other_channel_counts_are_refused():
    with pytest.raises(ShapeMismatch, match="layer 0 has 1 channels in one network, 2"):
        difference(network([0.0], [1.0]), network([0.0, 0.0], [1.0, 1.0]))


def test_numbers_that_are_not_finite_are_null_with_their_word():
    [row] = difference(network([1.0], [0.0]), network([0.0], [1.0]))["layers"]

    json.dumps(row, allow_nan=False)
    assert row["largest_z"] is None
    assert row["not_finite"]["largest_z"] == "inf"
