"""The change of the loss when a unit's weights move, against networks that were really moved."""

import copy
import math

import pytest
import torch
from torch import nn

from model.measures.dead import DEAD, MOVE, SEED, loss_changes_of, steepest_changes_of
from model.measures.probe import Block
from model.training.losses import loss_function

MLP = [
    {"kind": "linear", "out_features": 6},
    {"kind": "norm"},
    {"kind": "activation", "activation": "tanh"},
    {"kind": "linear", "out_features": 5, "bias": False},
    {"kind": "activation", "activation": "relu"},
    {"kind": "norm"},
    {"kind": "linear"},
]
CONV = [
    {"kind": "conv2d", "out_channels": 4, "padding": 1, "stride": 2},
    {"kind": "norm"},
    {"kind": "activation", "activation": "silu"},
    {
        "kind": "residual",
        "layers": [
            {"kind": "conv2d", "out_channels": 3, "padding": 1},
            {"kind": "norm"},
            {"kind": "activation", "activation": "elu"},
            {"kind": "conv2d", "out_channels": 4, "kernel_size": 1, "bias": False},
        ],
    },
    {"kind": "activation", "activation": "sigmoid"},
    {"kind": "pool", "pool": "global_avg"},
    {"kind": "flatten"},
    {"kind": "linear"},
]
NETWORKS = {"mlp": (MLP, (4,)), "conv": (CONV, (2, 5, 5))}
MEAN, SUM = "cross_entropy", "half_sum_squares"


def total(network, blocks, kind):
    """The loss on all rows, each block passing by itself through a copy."""
    return differentiable(copy.deepcopy(network), blocks, kind).item()


def differentiable(network, blocks, kind):
    """Sums add up as they are, means by their rows."""
    losses = [loss_function(kind)(network(one.inputs), one.targets) for one in blocks]
    sizes = [len(one.inputs) if kind == MEAN else 1 for one in blocks]
    return sum(loss * size for loss, size in zip(losses, sizes, strict=True))


def row_of(layer, unit):
    """Weights and bias of a unit as one vector."""
    parts = [layer.weight[unit].flatten()]
    return torch.cat(parts if layer.bias is None else [*parts, layer.bias[unit, None]]).detach()


def moved(network, name, unit, move):
    other = copy.deepcopy(network)
    layer = other.get_submodule(name)
    count = layer.weight[unit].numel()
    with torch.no_grad():
        layer.weight[unit] += move[:count].view_as(layer.weight[unit])
        if layer.bias is not None:
            layer.bias[unit] += move[count]
    return other


def slopes(network, name, blocks, kind):
    """Gradient of the total loss by every unit's row, (units, W)."""
    other = copy.deepcopy(network)
    layer = other.get_submodule(name)
    own = [one for one in (layer.weight, layer.bias) if one is not None]
    found = torch.autograd.grad(differentiable(other, blocks, kind), own)
    return torch.cat([one.reshape(len(one), -1) for one in found], 1)


def by_hand(network, name, blocks, kind):
    """Every unit's largest relative change, with whole networks moved and run from the start."""
    layer = network.get_submodule(name)
    gradient, before = slopes(network, name, blocks, kind), total(network, blocks, kind)
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
    found = []
    for unit in range(len(layer.weight)):
        length = MOVE * row_of(layer, unit).norm()
        moves = [length * one[unit] / one[unit].norm() for one in (gradient, drawn)]
        after = [
            total(moved(network, name, unit, sign * move), blocks, kind)
            for move in moves
            for sign in (1, -1)
        ]
        found.append(max(abs(one - before) for one in after) / before)
    return found


@pytest.mark.parametrize("loss", [MEAN, SUM])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_change_is_that_of_a_network_whose_weights_were_moved(
    kind, norm, loss, make_network, make_blocks
):
    layers, shape = NETWORKS[kind]
    network = make_network(layers, shape, norm=norm, init={"bias": "normal"})
    blocks = make_blocks(shape, [20, 13], loss=loss)

    found = loss_changes_of(network, blocks, loss)

    for one in found:
        expected = by_hand(network, one.source, blocks, loss)
        assert one.change.tolist() == pytest.approx(expected, rel=1e-8, abs=1e-13)


def test_in_eval_mode_the_running_statistics_are_used(make_network, make_blocks):
    network = make_network(MLP, norm="batch").eval()
    blocks = make_blocks((4,), [20])

    found = loss_changes_of(network, blocks, MEAN)[0]

    assert found.change.tolist() == pytest.approx(by_hand(network, "0", blocks, MEAN), rel=1e-8)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_steepest_change_is_the_length_of_the_gradient(kind, make_network, make_blocks):
    layers, shape = NETWORKS[kind]
    network = make_network(layers, shape, norm="batch")
    blocks = make_blocks(shape, [20, 13])
    before = total(network, blocks, MEAN)

    for one in steepest_changes_of(network, blocks, MEAN):
        layer, gradient = (
            network.get_submodule(one.source),
            slopes(network, one.source, blocks, MEAN),
        )
        expected = [
            MOVE * float(row_of(layer, unit).norm() * gradient[unit].norm()) / before
            for unit in range(one.of)
        ]
        assert one.change.tolist() == pytest.approx(expected, rel=1e-12)
        assert one.units == tuple(range(one.of))


def test_no_small_move_changes_more_than_the_steepest(make_network, make_blocks):
    network, blocks = make_network(MLP, norm="batch"), make_blocks((4,), [33])
    steepest = steepest_changes_of(network, blocks, MEAN)[0].change
    before = total(network, blocks, MEAN)
    small = 1e-6
    generator = torch.Generator().manual_seed(3)

    for unit in range(6):
        row = row_of(network[0], unit)
        for _ in range(20):
            move = torch.randn(row.shape, generator=generator, dtype=torch.float64)
            move *= small * row.norm() / move.norm()
            after = total(moved(network, "0", unit, move), blocks, MEAN)
            assert abs(after - before) / before <= 1.001 * steepest[unit] * small / MOVE


def test_behind_a_norm_a_scaled_row_would_show_nothing_and_a_move_does(make_network, make_blocks):
    network = make_network(MLP, norm={"kind": "batch", "eps": 0})
    blocks = make_blocks((4,), [33])
    before = total(network, blocks, MEAN)
    scaled = moved(network, "0", 1, MOVE * row_of(network[0], 1))

    assert total(scaled, blocks, MEAN) == pytest.approx(before, rel=1e-13)
    assert loss_changes_of(network, blocks, MEAN)[0].change.min() > DEAD


def planted(make_network):
    """A relu network: unit 2 is 0 on every row, and nobody reads unit 3."""
    network = make_network({"kind": "mlp", "hidden": [6], "activation": "relu"})
    with torch.no_grad():
        network[0].bias[2] = -1000
        network[2].weight[:, 3] = 0
    return network


@pytest.mark.parametrize("measure", [loss_changes_of, steepest_changes_of])
def test_planted_dead_units_are_found_and_no_others(measure, make_network, make_blocks):
    (found,) = measure(planted(make_network), make_blocks((4,), [100, 50]), MEAN)

    assert found.dead.tolist() == [False, False, True, True, False, False]
    assert found.change[2] == found.change[3] == 0
    assert found.dead_share == pytest.approx(1 / 3)


def fitted(make_network, lead, precision):
    """A network whose first class is ahead by about `lead` on every row; unit 1 is flat."""
    network = make_network(
        {"kind": "mlp", "hidden": [3], "activation": "tanh"}, precision=precision
    )
    with torch.no_grad():
        network[0].bias[1] = 30
        network[2].bias[0] = lead
    return network


def of_class_0(x):
    return [Block(x, torch.zeros(len(x), dtype=torch.long))]


@pytest.mark.parametrize("measure", [loss_changes_of, steepest_changes_of])
def test_of_a_loss_that_float32_rounds_to_0_the_changes_are_those_of_float64(
    measure, make_network, make_blocks
):
    network, exact = (fitted(make_network, 20, one) for one in ("float32", "float64"))
    exact.load_state_dict(network.state_dict())
    x = make_blocks((4,), [50], dtype=torch.float32)[0].inputs
    (rounded,) = of_class_0(x)
    assert loss_function(MEAN)(network(x), rounded.targets) == 0

    (found,) = measure(network, [rounded], MEAN)

    (wanted,) = measure(exact, of_class_0(x.double()), MEAN)
    assert found.change[[0, 2]].tolist() == pytest.approx(wanted.change[[0, 2]].tolist(), rel=2e-3)
    assert found.dead.tolist() == [False, True, False]


@pytest.mark.parametrize("measure", [loss_changes_of, steepest_changes_of])
def test_where_the_loss_is_at_rest_no_unit_changes_it(measure, make_network, make_blocks):
    network = fitted(make_network, 2000, "float64")
    rows = of_class_0(make_blocks((4,), [50])[0].inputs)
    assert loss_function(MEAN)(network(rows[0].inputs), rows[0].targets) == 0

    (found,) = measure(network, rows, MEAN)

    assert found.change.tolist() == [0, 0, 0]


def test_a_saturated_unit_that_still_matters_is_not_dead(make_network, make_blocks):
    """On half of the rows it is 1, on half of them -1, and near 0 on few: flat, and of use."""
    network = make_network({"kind": "mlp", "hidden": [3], "activation": "tanh"})
    with torch.no_grad():
        network[0].weight.mul_(100)
    blocks = make_blocks((4,), [400])

    assert (network[:2](blocks[0].inputs).abs() > 0.99).double().mean() > 0.9
    assert not loss_changes_of(network, blocks, MEAN)[0].dead.any()


def test_tanh_units_flat_on_every_row_on_one_side_are_dead(make_network, make_blocks):
    network = make_network({"kind": "mlp", "hidden": [3], "activation": "tanh"})
    with torch.no_grad():
        network[0].bias[1] = 30

    found = loss_changes_of(network, make_blocks((4,), [400]), MEAN)[0]

    assert found.dead.tolist() == [False, True, False]


def test_of_many_units_256_evenly_spread_ones_are_moved(make_network, make_blocks):
    network = make_network({"kind": "mlp", "hidden": [320], "activation": "tanh"})
    blocks = make_blocks((4,), [10])

    (found,) = loss_changes_of(network, blocks, MEAN)

    assert found.of == 320
    assert found.units[:6] == (0, 1, 2, 3, 5, 6)  # four of each five
    assert len(set(found.units)) == 256
    every = by_hand(network, "0", blocks, MEAN)
    expected = [every[unit] for unit in found.units]
    assert found.change.tolist() == pytest.approx(expected, rel=1e-8, abs=1e-13)


def test_units_without_a_row_of_weights_each_are_not_asked_about(make_blocks):
    flattened = nn.Sequential(
        nn.ReLU(), nn.Conv2d(1, 2, 1), nn.Flatten(), nn.ReLU(), nn.Linear(8, 3)
    ).double()
    (block,) = make_blocks((1, 2, 2), [9])

    found = loss_changes_of(flattened, [block], MEAN)

    assert [one.source for one in found] == [None, None]
    assert [one.of for one in found] == [1, 8]
    assert all(one.units == () and math.isnan(one.dead_share) for one in found)


def test_a_row_of_zeros_has_no_move_of_one_percent(make_network, make_blocks):
    network = make_network({"kind": "mlp", "hidden": [3], "activation": "tanh"})
    with torch.no_grad():
        network[0].weight[1] = network[0].bias[1] = 0

    found = loss_changes_of(network, make_blocks((4,), [30]), MEAN)[0]

    assert math.isnan(found.change[1])
    assert math.isnan(found.dead_share)
    assert not found.dead.any()


def test_a_network_that_is_no_sequence_is_moved_as_well(make_blocks):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.act, self.last = nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)

        def forward(self, x):
            return self.last(self.act(self.first(x)))

    torch.manual_seed(0)
    network = Two().double()
    blocks = make_blocks((4,), [30])

    found = loss_changes_of(network, blocks, MEAN)[0]

    assert found.change.tolist() == pytest.approx(by_hand(network, "first", blocks, MEAN), rel=1e-8)


def test_a_unit_whose_gradient_is_not_a_number_is_not_dead(make_network, make_blocks):
    network = make_network({"kind": "mlp", "hidden": [3], "activation": "tanh"})
    (block,) = make_blocks((4,), [30])
    rows = Block(block.inputs.clone(), block.targets)
    rows.inputs[3] = math.nan

    assert not loss_changes_of(network, [rows], MEAN)[0].dead.any()
