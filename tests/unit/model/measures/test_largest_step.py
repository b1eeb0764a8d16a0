import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from model.measures.largest_step import TOLERANCE, largest_step, turn
from model.measures.objective import objective
from model.measures.probe import Block
from model.measures.shadow import moment


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def parabola():
    """A linear model whose loss is a parabola, its Hessian, and the gradient where it stands."""
    network = nn.Linear(5, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        network.weight.copy_(draw(1, 5, seed=1))
    x = draw(30, 5)
    at = objective(moment(network, 0, Block(x, draw(30, 1, seed=2)), (), 0.1), functional.mse_loss)
    hessian = 2 * x.T @ x / 30
    w = network.weight.detach()[0]
    return at, hessian, 2 * x.T @ (x @ w - at.block.targets[:, 0]) / 30


def test_on_a_parabola_it_is_where_the_loss_is_back(parabola):
    at, hessian, g = parabola
    wanted = (2 * (g @ g) / (g @ hessian @ g)).item()

    found = largest_step(at, at.here)

    assert found.bound is None
    assert found.alpha <= wanted <= found.alpha * (1 + TOLERANCE)


def test_from_elsewhere_it_is_that_of_the_place(parabola):
    at, hessian, g = parabola
    there = at.here - 0.2 * g
    g = g - 0.2 * hessian @ g
    wanted = (2 * (g @ g) / (g @ hessian @ g)).item()

    found = largest_step(at, there)

    assert found.alpha <= wanted <= found.alpha * (1 + TOLERANCE)


def test_outside_of_what_was_tried_it_is_a_bound(parabola):
    at, hessian, g = parabola
    wanted = (2 * (g @ g) / (g @ hessian @ g)).item()

    above = largest_step(at, at.here, wanted / 100, wanted / 2)
    below = largest_step(at, at.here, wanted * 2, wanted * 100)

    assert (above.alpha, above.bound, above.high) == (None, "above", wanted / 2)
    assert (below.alpha, below.bound, below.low) == (None, "below", wanted * 2)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_without_a_finite_loss_no_step_is_safe(parabola, value):
    at, _, _ = parabola

    assert largest_step(at, torch.full_like(at.here, value)).bound == "below"


@pytest.mark.parametrize("alpha", [0.01, 0.3, 2.0])
def test_the_gradient_turns_as_the_hessian_says(parabola, alpha):
    at, hessian, g = parabola
    wanted = functional.cosine_similarity(g, g - alpha * hessian @ g, dim=0).item()

    assert turn(at, at.here, alpha) == pytest.approx(wanted, abs=1e-12)


def test_a_turn_from_nowhere_has_no_cosine(parabola):
    at, _, _ = parabola

    assert math.isnan(turn(at, torch.full_like(at.here, math.nan), 0.1))


def test_nothing_of_the_network_or_the_generators_changes():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    block = Block(draw(20, 4).float(), torch.arange(20) % 2)
    at = objective(moment(network, 0, block, (), 0.1), functional.cross_entropy)
    kept, state = copy.deepcopy(at.network), torch.get_rng_state()

    largest_step(at, at.here)
    turn(at, at.here, 0.1)

    tensors = at.network.state_dict()
    assert all(torch.equal(tensors[name], value) for name, value in kept.state_dict().items())
    assert all(module.training for module in at.network.modules())
    assert torch.equal(torch.get_rng_state(), state)
