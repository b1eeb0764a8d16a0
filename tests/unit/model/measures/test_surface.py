import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from model.measures.objective import Objective, flatten, objective, parameters_of, unflatten
from model.measures.probe import Block
from model.measures.shadow import moment
from model.measures.surface import (
    curve,
    filter_normalized,
    mean_curvature,
    share_near_minimum,
    surface,
)
from model.networks.build import build
from model.networks.init import initialize
from model.plan import plan

LAYERS = [
    {"kind": "conv2d", "out_channels": 4, "padding": 1},
    {"kind": "norm"},
    {"kind": "activation", "activation": "relu"},
    {"kind": "flatten"},
    {"kind": "linear", "out_features": 6},
    {"kind": "norm"},
    {"kind": "activation", "activation": "tanh"},
    {"kind": "linear"},
]
STEPS = [-1.0, -0.5, 0.0, 0.5, 1.0]


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def raw(network, generator):
    """The normal direction that is to be rescaled; it must not move what has one axis."""
    return flatten(
        {
            name: torch.randn(one.shape, generator=generator, dtype=one.dtype)
            if one.dim() > 1
            else torch.zeros_like(one)
            for name, one in parameters_of(network).items()
        }
    )


@pytest.fixture
def make_network(make_spec, make_facts):
    def make(norm):
        spec = make_spec(LAYERS, norm=norm, init={"bias": "normal"})
        planned = plan(spec, make_facts(input_shape=(2, 4, 4), outputs=3))
        network = build(planned, dtype=torch.float64)
        initialize(network, planned, spec.init, torch.Generator().manual_seed(1))
        return network

    return make


BATCH = {"kind": "batch", "eps": 1e-12}


@pytest.fixture
def normed(make_network):
    network = make_network(BATCH)
    block = Block(draw(40, 2, 4, 4), torch.arange(40) % 3)
    for _ in range(60):
        network(block.inputs)
    return objective(moment(network, 0, block, (), 0.1), functional.cross_entropy)


def parabola():
    network = nn.Linear(4, 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        network.weight.copy_(draw(2, 4, seed=1))
    x = draw(20, 4)
    at = objective(moment(network, 0, Block(x, draw(20, 2, seed=2)), (), 0.1), functional.mse_loss)
    hessian = torch.block_diag(x.T @ x, x.T @ x) * 2 / 40
    return at, hessian, at.gradient(at.here)[1]


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "none"])
def test_every_filter_has_the_norm_of_the_networks_own_and_nothing_else_moves(make_network, norm):
    network = make_network({"kind": norm})
    parameters = parameters_of(network)

    direction = unflatten(filter_normalized(network, generator()), parameters)

    moving = {name for name, one in direction.items() if bool(one.any())}
    last = [name for name in parameters if name.endswith(".weight")][-1]
    middle = "3.weight" if norm == "none" else "4.weight"  # a layer norm's weight has axes too
    assert moving == {"0.weight", middle, last}
    for name in moving:
        for drawn, own in zip(direction[name], parameters[name], strict=True):
            assert drawn.norm().item() == pytest.approx(own.norm().item(), rel=1e-9)


def test_the_row_of_each_word_of_an_embedding_is_a_filter():
    network = nn.Sequential(
        nn.Embedding(7, 5), nn.LayerNorm(5), nn.Flatten(), nn.Linear(10, 3)
    ).double()
    parameters = parameters_of(network)

    direction = unflatten(filter_normalized(network, generator()), parameters)

    assert {name for name, one in direction.items() if one.any()} == {"0.weight", "3.weight"}
    torch.testing.assert_close(
        direction["0.weight"].norm(dim=1), parameters["0.weight"].norm(dim=1), rtol=1e-9, atol=0
    )


def test_the_direction_of_a_filter_is_the_raw_one(normed):
    network = normed.network
    like = parameters_of(network)
    scaled = unflatten(filter_normalized(network, generator()), like)
    plain = unflatten(raw(network, generator()), like)

    for one, other in zip(scaled["0.weight"], plain["0.weight"], strict=True):
        assert (
            functional.cosine_similarity(one.flatten(), other.flatten(), dim=0).item() > 1 - 1e-12
        )
    assert not torch.equal(
        filter_normalized(network, generator(3)), filter_normalized(network, generator(4))
    )


def test_a_parabola_is_drawn_as_in_closed_form():
    at, hessian, g = parabola()
    first, second = filter_normalized(at.network, generator(11)), raw(at.network, generator(12))
    loss = at.value(at.here)

    losses = surface(at, at.here, (first, second), STEPS, [0.0, 2.0])

    for b, row in zip([0.0, 2.0], losses, strict=True):
        for a, found in zip(STEPS, row, strict=True):
            step = a * first + b * second
            wanted = loss + step @ g + step @ hessian @ step / 2
            assert found == pytest.approx(wanted.item(), rel=1e-10)
    assert curve(at, at.here, first, STEPS) == losses[0]


def test_curvature_is_the_mean_of_the_hessian_along_the_directions():
    at, hessian, _ = parabola()
    directions = [draw(8, seed=5), draw(8, seed=6)]
    wanted = sum((one @ hessian @ one).item() for one in directions) / 2

    assert mean_curvature(at, at.here, directions) == pytest.approx(wanted, rel=1e-8)
    assert mean_curvature(at, at.here, directions, h=1.0) == pytest.approx(wanted, rel=1e-8)


def scaled_by_ten(at, name):
    network = copy.deepcopy(at.network)
    with torch.no_grad():
        network.get_parameter(name).mul_(10)
    return Objective(network, at.loss, at.block, at.again)


@pytest.mark.parametrize("name", ["0.weight", "4.weight"])
def test_ten_times_the_weight_in_front_of_a_norm_has_the_same_filter_normalized_surface(
    normed, name
):
    scaled = scaled_by_ten(normed, name)

    def drawn(at, direction):
        directions = direction(at.network, generator(11)), direction(at.network, generator(12))
        return torch.tensor(surface(at, at.here, directions, STEPS, STEPS))

    own, others = drawn(normed, filter_normalized), drawn(scaled, filter_normalized)
    torch.testing.assert_close(own, others, rtol=1e-4, atol=0)
    own, others = drawn(normed, raw), drawn(scaled, raw)
    assert ((own - others).abs() / own).max() > 0.01


def test_recomputed_and_held_statistics_give_other_surfaces(normed):
    held = Objective(normed.network, normed.loss, normed.block, normed.again, "held")
    direction = filter_normalized(normed.network, generator())

    recomputed = curve(normed, normed.here, direction, STEPS)
    with_running = curve(held, held.here, direction, STEPS)

    assert with_running[2] == pytest.approx(recomputed[2], rel=0.02)  # they are learned there
    evaluating = copy.deepcopy(normed.network).eval()
    nn.utils.vector_to_parameters(normed.here + direction, evaluating.parameters())
    wanted = functional.cross_entropy(evaluating(normed.block.inputs), normed.block.targets).item()
    assert with_running[4] == pytest.approx(wanted, rel=1e-12)
    assert with_running[4] != pytest.approx(recomputed[4], rel=1e-3)


def test_nothing_of_the_network_or_the_generators_changes(normed):
    kept, state = copy.deepcopy(normed.network), torch.get_rng_state()
    directions = filter_normalized(normed.network, generator()), raw(normed.network, generator())

    surface(normed, normed.here, directions, STEPS, STEPS)
    mean_curvature(normed, normed.here, directions)

    tensors = normed.network.state_dict()
    assert all(torch.equal(tensors[name], value) for name, value in kept.state_dict().items())
    assert all(module.training for module in normed.network.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_share_near_the_minimum_counts_what_is_finite_below_twice_of_it():
    losses = [[1.0, 1.9, 2.0], [math.nan, math.inf, 5.0]]

    assert share_near_minimum(losses) == pytest.approx(2 / 6)
    assert share_near_minimum(losses, factor=5.5) == pytest.approx(4 / 6)
    assert math.isnan(share_near_minimum([[math.nan]]))
