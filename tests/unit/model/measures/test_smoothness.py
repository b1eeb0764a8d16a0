import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from model.measures.objective import objective
from model.measures.probe import Block
from model.measures.shadow import moment
from model.measures.smoothness import pairs_along, pairs_around, smoothness


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def matrix():
    """Symmetric, with eigenvalues of both signs; the one that is largest in size is negative."""
    vectors, _ = torch.linalg.qr(draw(6, 6))
    values = torch.tensor([-7.0, -1.0, 0.0, 0.5, 2.0, 5.0], dtype=torch.float64)
    return vectors @ torch.diag(values) @ vectors.T


def quadratic(matrix):
    return lambda x: ((x @ matrix @ x / 2).item(), matrix @ x)


def generator():
    return torch.Generator().manual_seed(4)


def test_beta_of_random_pairs_is_a_lower_bound_that_is_not_far(matrix):
    found = smoothness(quadratic(matrix), pairs_around(draw(6, seed=2), 0.3, 500, generator()))

    assert 0.8 * 7 < found.beta <= 7 * (1 + 1e-12)
    assert found.pairs == 500


def test_beta_is_exact_along_the_largest_eigenvector(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    x, top = draw(6, seed=2), vectors[:, values.abs().argmax()]

    assert smoothness(quadratic(matrix), [(x, x + 3 * top)]).beta == pytest.approx(7, rel=1e-12)
    assert smoothness(quadratic(matrix), [(x, x + vectors[:, -1])]).beta == pytest.approx(5)


def test_the_slope_of_a_pair_is_between_its_points(matrix):
    x, y = draw(6, seed=2), draw(6, seed=3)
    wanted = abs((x @ matrix @ x - y @ matrix @ y).item() / 2) / (x - y).norm().item()

    found = smoothness(quadratic(matrix), [(x, y), (x, x)])

    assert found.lipschitz == pytest.approx(wanted, rel=1e-12)
    assert found.pairs == 1  # two equal points are none


def test_no_slope_of_a_linear_function_is_above_its_gradient():
    g = draw(6, seed=5)
    pairs = pairs_around(draw(6), 1.0, 500, generator())

    found = smoothness(lambda x: ((g @ x).item(), g), pairs)

    assert 0.8 * g.norm().item() < found.lipschitz <= g.norm().item() * (1 + 1e-6)
    assert found.beta == 0


def test_drawn_pairs_are_as_far_apart_as_asked():
    center = draw(40).float()

    pairs = list(pairs_around(center, 2.5, 8, generator()))

    assert {y.dtype for _, y in pairs} == {torch.float32}
    apart = [(x - y).norm().item() for x, y in pairs]
    assert apart == pytest.approx([2.5] * 8, rel=1e-5)


def test_pairs_along_a_path_are_neighbours():
    assert list(pairs_along([1, 2, 3])) == [(1, 2), (2, 3)]
    assert list(pairs_along([1])) == []


def test_without_a_number_there_is_no_estimate(matrix):
    x = draw(6, seed=2)

    assert math.isnan(smoothness(quadratic(matrix), []).beta)
    broken = smoothness(lambda x: (math.nan, x * math.nan), [(x, 2 * x)])
    assert math.isnan(broken.lipschitz)
    assert math.isnan(broken.beta)


def test_a_linear_models_beta_is_bounded_by_its_hessian():
    network = nn.Linear(5, 1, bias=False, dtype=torch.float64)
    x = draw(30, 5)
    at = objective(moment(network, 0, Block(x, draw(30, 1, seed=2)), (), 0.1), functional.mse_loss)
    values, vectors = torch.linalg.eigh(2 * x.T @ x / 30)

    some = smoothness(at.gradient, pairs_around(at.here, 0.5, 50, generator()))
    exact = smoothness(at.gradient, [(at.here, at.here + vectors[:, -1])])

    assert some.beta <= values[-1].item() * (1 + 1e-12)
    assert exact.beta == pytest.approx(values[-1].item(), rel=1e-9)
