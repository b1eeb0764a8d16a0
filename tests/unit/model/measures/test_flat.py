import math

import pytest
import torch
from torch import nn

from model.measures.flat import is_active, is_flat, slope
from model.networks.build import ACTIVATIONS

X = torch.linspace(-30, 30, 6001, dtype=torch.float64)
SIGMOID, PDF = X.sigmoid(), (-X.square() / 2).exp() / math.sqrt(2 * math.pi)
SLOPES = {
    "tanh": 1 - X.tanh().square(),
    "relu": (X > 0).double(),
    "sigmoid": SIGMOID * (1 - SIGMOID),
    "gelu": torch.special.ndtr(X) + X * PDF,
    "silu": SIGMOID * (1 + X * (1 - SIGMOID)),
    "elu": torch.where(X > 0, torch.ones_like(X), X.exp()),
    "leaky_relu": torch.where(X > 0, torch.ones_like(X), torch.full_like(X, 0.01)),
    "identity": torch.ones_like(X),
}


def flat(kind, x):
    activation = ACTIVATIONS[kind]()
    return is_flat(activation, x, activation(x))


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_the_slope_is_the_derivative(kind):
    torch.testing.assert_close(slope(ACTIVATIONS[kind](), X), SLOPES[kind], rtol=1e-12, atol=1e-15)


def test_tanh_is_flat_beyond_99_hundredths():
    edge = math.atanh(0.99)
    x = torch.tensor([-edge - 1e-9, -edge + 1e-9, 0, edge - 1e-9, edge + 1e-9], dtype=torch.float64)

    assert flat("tanh", x).tolist() == [True, False, False, False, True]


def test_sigmoid_is_flat_a_hundredth_from_its_ends():
    edge = math.log(99)
    x = torch.tensor([-edge - 1e-9, -edge + 1e-9, edge - 1e-9, edge + 1e-9], dtype=torch.float64)

    assert flat("sigmoid", x).tolist() == [True, False, False, True]


def test_relu_is_flat_where_it_is_zero():
    assert flat("relu", torch.tensor([-1.0, 0.0, 1e-30])).tolist() == [True, True, False]


@pytest.mark.parametrize("kind", ["gelu", "silu", "elu", "leaky_relu", "identity"])
def test_the_others_are_flat_where_their_slope_is_below_a_hundredth(kind):
    assert torch.equal(flat(kind, X), SLOPES[kind].abs() < 0.01)


def test_leaky_relu_and_identity_are_flat_nowhere():
    assert not flat("leaky_relu", X).any()
    assert not flat("leaky_relu", X.float()).any()
    assert not flat("identity", X).any()


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_what_is_no_number_is_not_flat(kind):
    assert not flat(kind, torch.tensor([math.nan])).any()


def test_the_rule_counts_relu_active_above_zero():
    x = torch.tensor([-1.0, 0.0, 1e-30])

    assert is_active(nn.ReLU(), x, x.relu()).tolist() == [False, False, True]


def test_the_rule_counts_tanh_and_sigmoid_active_within_its_bounds():
    x = torch.tensor([-23.1, -9.6, -9.4, 9.4, 9.6, 16.9, 17.1])

    assert is_active(nn.Tanh(), x, x.tanh()).tolist() == [False] * 2 + [True] * 2 + [False] * 3
    assert is_active(nn.Sigmoid(), x, x.sigmoid()).tolist() == [False] + [True] * 5 + [False]


def test_the_rule_knows_no_other_activation():
    assert all(
        is_active(ACTIVATIONS[kind](), X, X) is None
        for kind in ("gelu", "silu", "elu", "leaky_relu", "identity")
    )
