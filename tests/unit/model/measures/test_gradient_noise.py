from itertools import combinations, product

import pytest
import torch
from torch import nn

from model.measures.gradient_noise import noise_bound, noise_constant, noise_of
from model.measures.objective import Objective
from model.measures.probe import Block


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean_of_half_squares(outputs, targets):
    return (outputs - targets).square().sum(1).mean() / 2


@pytest.fixture
def linear():
    """A linear model with half the squared error on six rows, and the gradient of each row."""
    x, y, w = draw(6, 3), draw(6, 1, seed=1), draw(1, 3, seed=2)
    network = nn.Linear(3, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        network.weight.copy_(w)
    at = Objective(network, mean_of_half_squares, Block(x, y), lambda: None)
    return at, (x @ w.T - y) * x


def mean_distance(gradients, batches, alpha):
    mean = gradients.mean(0)
    steps = [alpha * (mean - gradients[list(batch)].mean(0)) for batch in batches]
    return torch.stack(steps).square().sum(1).mean().item()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_with_replacement_the_bound_is_reached_over_all_batches(linear, size):
    at, gradients = linear
    bound = noise_bound(noise_constant(at), 0.1, size)

    found = mean_distance(gradients, product(range(6), repeat=size), 0.1)

    assert found == pytest.approx(bound, rel=1e-12)


@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_without_replacement_it_is_smaller_by_what_was_drawn(linear, size):
    at, gradients = linear
    bound = noise_bound(noise_constant(at), 0.1, size)

    found = mean_distance(gradients, combinations(range(6), size), 0.1)

    assert found == pytest.approx(bound * (6 - size) / 5, rel=1e-12, abs=1e-15)


def test_the_noise_of_some_batches_is_the_variance_of_their_gradients(linear):
    at, gradients = linear
    batches = [torch.tensor(one) for one in ([0, 1], [2, 3], [1, 5], [4, 0])]

    found = noise_of(at, batches)

    means = torch.stack([gradients[one].mean(0) for one in batches])
    assert found == pytest.approx(means.var(0).sum().item(), rel=1e-12)


def test_the_constant_of_a_convolution_is_that_of_rows_that_pass_alone():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    network = nn.Sequential(*layers).double()
    x, y = draw(40, 1, 4, 4), torch.arange(40) % 3
    loss = nn.functional.cross_entropy

    found = noise_constant(Objective(network, loss, Block(x, y), lambda: None))

    alone = []
    for row in range(40):
        slopes = torch.autograd.grad(loss(network(x[[row]]), y[[row]]), list(network.parameters()))
        alone.append(torch.cat([one.flatten() for one in slopes]))
    wanted = torch.stack(alone).var(0, correction=0).sum().item()
    assert found == pytest.approx(wanted, rel=1e-12)
