from itertools import combinations, product

import pytest
import torch

from model.measures.gradient_noise import noise_bound, noise_constant


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def gradients():
    """Of each row of a linear model with half the squared error: (x w - y) x."""
    x, y, w = draw(6, 3), draw(6, seed=1), draw(3, seed=2)
    return (x @ w - y)[:, None] * x


def mean_distance(gradients, batches, alpha):
    mean = gradients.mean(0)
    steps = [alpha * (mean - gradients[list(batch)].mean(0)) for batch in batches]
    return torch.stack(steps).square().sum(1).mean().item()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_with_replacement_the_bound_is_reached_over_all_batches(gradients, size):
    bound = noise_bound(noise_constant(gradients), 0.1, size)

    found = mean_distance(gradients, product(range(6), repeat=size), 0.1)

    assert found == pytest.approx(bound, rel=1e-12)


@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_without_replacement_it_is_smaller_by_what_was_drawn(gradients, size):
    bound = noise_bound(noise_constant(gradients), 0.1, size)

    found = mean_distance(gradients, combinations(range(6), size), 0.1)

    assert found == pytest.approx(bound * (6 - size) / 5, rel=1e-12, abs=1e-15)
