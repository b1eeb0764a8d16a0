import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from model.measures.objective import (
    Objective,
    cosine,
    flatten,
    moved,
    norm_of,
    objective,
    parameters_of,
    unflatten,
)
from model.measures.probe import Block
from model.measures.shadow import moment
from model.networks.build import build
from model.networks.init import initialize
from model.plan import plan

LAYERS = [
    {"kind": "linear", "out_features": 6},
    {"kind": "norm"},
    {"kind": "activation", "activation": "tanh"},
    {"kind": "residual", "layers": [{"kind": "linear", "out_features": 6}, {"kind": "norm"}]},
    {"kind": "dropout", "p": 0.5},
    {"kind": "linear"},
]


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def make_objective(make_spec, make_facts):
    """A residual network with norms whose running values have moved, and a batch for it."""

    def make(**norm):
        spec = make_spec(LAYERS, norm=norm, init={"bias": "normal"})
        planned = plan(spec, make_facts(input_shape=(4,), outputs=3))
        network = build(planned, dtype=torch.float64)
        initialize(network, planned, spec.init, torch.Generator().manual_seed(0))
        network(draw(64, 4) + 1)
        block = Block(draw(10, 4, seed=1), torch.arange(10) % 3)
        return objective(moment(network, 7, block, (), 0.1), functional.cross_entropy)

    return make


@pytest.fixture
def at(make_objective):
    return make_objective(kind="batch")


def traces(network):
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    gradients = [parameter.grad for parameter in network.parameters()]
    hooks = [len(module._forward_hooks) for module in network.modules()]
    return tensors, modes, gradients, hooks, torch.get_rng_state()


def are_equal(before, after):
    same = all(torch.equal(one, after[0][name]) for name, one in before[0].items())
    return same and before[1:4] == after[1:4] and torch.equal(before[4], after[4])


def backward(at):
    """Loss and gradient by the ordinary way, on a copy."""
    network = copy.deepcopy(at.network)
    loss = at.loss(network(at.block.inputs), at.block.targets)
    loss.backward()
    return loss.item(), [parameter.grad for parameter in network.parameters()]


def test_loss_and_gradient_are_those_of_a_backward_pass(at):
    loss, gradients = backward(at)

    found, gradient = at.gradient(at.here)

    assert found == pytest.approx(loss, rel=1e-14)
    assert at.value(at.here) == pytest.approx(loss, rel=1e-14)
    wanted = torch.cat([one.flatten() for one in gradients])
    torch.testing.assert_close(gradient, wanted, rtol=1e-12, atol=1e-15)


def test_elsewhere_they_are_those_of_a_network_that_was_put_there(at):
    there = at.here + 0.1 * draw(len(at.here), seed=3)
    nn.utils.vector_to_parameters(there, (moved := copy.deepcopy(at.network)).parameters())
    wanted, gradients = backward(Objective(moved, at.loss, at.block, at.again))

    found, gradient = at.gradient(there)

    assert found == pytest.approx(wanted, rel=1e-14)
    pieces = torch.cat([one.flatten() for one in gradients])
    torch.testing.assert_close(gradient, pieces, rtol=1e-12, atol=1e-15)


def test_the_gradient_by_one_weight_is_its_part_of_the_whole(at):
    parameters = parameters_of(at.network)
    _, whole = at.gradient(at.here)

    _, parts = at.gradients_of(parameters, ["5.weight", "0.weight"])

    assert list(parts) == ["5.weight", "0.weight"]
    for name, part in parts.items():
        torch.testing.assert_close(part, unflatten(whole, parameters)[name])


@pytest.mark.parametrize("statistics", ["recomputed", "held"])
def test_no_evaluation_leaves_a_trace(at, statistics):
    at = Objective(at.network, at.loss, at.block, at.again, statistics)
    before = traces(at.network)

    with at.kept():
        at.value(at.here * 2)
        at.gradient(at.here)
        at.gradients_of(parameters_of(at.network), ["0.weight"])
        at.wide().gradient(at.here)
        at.outputs(parameters_of(at.network))

    assert are_equal(before, traces(at.network))


RENORM = {"warmup_batches": 0, "r_ramp_batches": 0, "d_ramp_batches": 0}
NORMS = [
    *({"kind": kind} for kind in ("none", "layer", "group", "batch", "noisy_batch", "noise")),
    *({"kind": "lp", "p": 1}, {"kind": "ghost_batch", "group_size": 5}),
    {"kind": "batch_renorm", **RENORM},
]


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm["kind"])
def test_with_any_norm_the_loss_is_that_of_training_each_time_it_is_asked(make_objective, norm):
    at = make_objective(**norm)
    before = traces(at.network)
    with at.kept():
        at.again()
        wanted = backward(at)[0]
        for _ in range(3):
            assert at.value(at.here) == pytest.approx(wanted, rel=1e-12)

    assert are_equal(before, traces(at.network))


def test_every_evaluation_draws_the_same_noise(at):
    at.network.train()  # with its dropout
    with at.kept():
        assert at.value(at.here) == at.value(at.here) == at.gradient(at.here)[0]


def test_held_statistics_are_those_of_eval_mode(at):
    held = Objective(at.network, at.loss, at.block, at.again, "held")
    evaluating = copy.deepcopy(at.network).eval()

    wanted = at.loss(evaluating(at.block.inputs), at.block.targets).item()

    assert held.value(held.here) == pytest.approx(wanted, rel=1e-14)
    assert at.value(at.here) != pytest.approx(wanted, rel=1e-3)


def test_in_float64_a_step_counts_that_float32_cannot_hold(at):
    narrow = Objective(
        copy.deepcopy(at.network).float(),
        at.loss,
        Block(at.block.inputs.float(), at.block.targets),
        at.again,
    )
    _, gradient = at.gradient(at.here)
    step = moved(at.here, gradient, -1e-9)

    assert narrow.here.dtype == torch.float32
    assert narrow.wide().here.dtype == torch.float64
    assert narrow.wide().block.targets.dtype == torch.int64
    change = at.value(step) - at.value(at.here)
    assert change == pytest.approx(-1e-9 * norm_of(gradient) ** 2, rel=1e-4)


def test_a_constant_channel_without_eps_has_no_loss(make_spec, make_facts):
    layers = [{"kind": "linear", "out_features": 2}, {"kind": "norm"}, {"kind": "linear"}]
    planned = plan(make_spec(layers, norm={"kind": "batch", "eps": 0}), make_facts((4,), 3))
    network = build(planned)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    block = Block(torch.ones(5, 4), torch.zeros(5, dtype=torch.long))
    at = objective(moment(network, 0, block, (), 0.1), functional.cross_entropy)

    loss, gradient = at.gradient(at.here)

    assert math.isnan(loss)
    assert math.isnan(at.value(at.here))
    assert gradient.isnan().all()
    assert gradient.shape == at.here.shape


def test_a_vector_becomes_tensors_and_a_vector_again(at):
    parameters = parameters_of(at.network)
    vector = draw(sum(one.numel() for one in parameters.values()))

    pieces = unflatten(vector, parameters)

    assert {name: one.shape for name, one in pieces.items()} == {
        name: one.shape for name, one in at.network.named_parameters()
    }
    assert torch.equal(flatten(pieces), vector)
    with pytest.raises(ValueError, match=r"expected \d+ parameters, got shape \(3,\)"):
        unflatten(torch.zeros(3), parameters)


def test_here_is_a_copy(at):
    at.here.zero_()

    assert at.here.abs().sum() > 0


def test_losses_along_a_direction_start_from_the_same_place(at):
    direction = draw(len(at.here), seed=5)

    there_and_back = at.along(at.here, direction, [0.0, 3.0, 0.0])

    assert there_and_back[0] == there_and_back[2] == at.value(at.here)
    assert there_and_back[1] == at.value(at.here + 3.0 * direction)


def test_no_step_goes_nowhere_whatever_the_direction(at):
    assert torch.equal(moved(at.here, torch.full_like(at.here, math.nan), 0.0), at.here)


def test_norm_and_cosine_hold_numbers_whose_squares_overflow():
    long = torch.tensor([3e30, 4e30])
    across = torch.tensor([4e30, -3e30])

    assert norm_of(long) == pytest.approx(5e30)
    assert cosine(long, long) == 1
    assert cosine(long, across) == pytest.approx(0, abs=1e-7)
    assert cosine(long, -long) == -1
    assert math.isnan(cosine(long, torch.zeros(2)))
    assert math.isnan(cosine(long, torch.tensor([math.inf, 1.0])))
