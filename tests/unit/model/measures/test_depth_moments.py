import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from model.measures.depth_moments import (
    cancellations,
    channel_moments,
    depth_names,
    distribution,
    moments_along,
    output_gradients,
)
from model.measures.objective import objective
from model.measures.probe import Block
from model.measures.shadow import moment
from model.plan import plan


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def at_of(network, inputs, targets, loss=functional.cross_entropy):
    return objective(moment(network, 0, Block(inputs, targets), (), 0.1), loss)


@pytest.fixture
def images():
    """A small convolutional network with a norm, and images."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 3, 3, 2, 1), nn.BatchNorm2d(3), nn.Tanh(), nn.Conv2d(3, 4, 2)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 4, 3)).double()
    return at_of(network, draw(7, 2, 6, 6), torch.arange(7) % 3)


def outputs_of(network, x):
    found = []
    for layer in network:
        x = layer(x)
        found.append(x)
    return found


def test_moments_are_those_of_each_channel_over_rows_and_positions(images):
    outputs = outputs_of(copy.deepcopy(images.network), images.block.inputs)

    found = channel_moments(images, images.here, ["0", "2", "5"])

    assert [one.name for one in found] == ["0", "2", "5"]
    for one, index in zip(found, (0, 2, 5), strict=True):
        x = outputs[index].detach().transpose(0, 1).flatten(1)
        torch.testing.assert_close(one.mean, x.mean(1))
        torch.testing.assert_close(one.deviation, x.std(1, correction=0))
        assert one.mean_size == pytest.approx(x.mean(1).abs().mean().item())
        assert one.mean_deviation == pytest.approx(x.std(1, correction=0).mean().item())


def test_without_a_norm_moments_grow_as_a_power_of_depth():
    network = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(5))).double()
    for layer in network:
        with torch.no_grad():
            layer.weight.copy_(2 * torch.eye(3))
    x = draw(50, 3)
    at = at_of(network, x, torch.arange(50) % 3)

    found = channel_moments(at, at.here, [str(index) for index in range(5)])

    for depth, one in enumerate(found, 1):
        torch.testing.assert_close(one.deviation, 2**depth * x.std(0, correction=0))
        torch.testing.assert_close(one.mean, 2**depth * x.mean(0))


def test_along_an_update_each_share_of_it_is_taken(images):
    update = draw(len(images.here), seed=9)

    found = moments_along(images, images.here, update, [0.0, 0.5, 1.0], ["5"])

    for share, (one,) in zip([0.0, 0.5, 1.0], found, strict=True):
        there = copy.deepcopy(images.network)
        nn.utils.vector_to_parameters(images.here + share * update, there.parameters())
        outputs = outputs_of(there, images.block.inputs)[-1].detach()
        torch.testing.assert_close(one.mean, outputs.mean(0))


def test_the_depth_is_seen_behind_residuals_or_weights(make_spec, make_facts):
    linear, norm = {"kind": "linear", "out_features": 8}, {"kind": "norm"}
    block = {"kind": "residual", "layers": [linear, norm]}

    def names(layers):
        return depth_names(plan(make_spec(layers, norm="batch"), make_facts((8,), 3)))

    assert names([linear, block, block, {"kind": "linear"}]) == ("1", "2")
    assert names([linear, norm, linear, {"kind": "linear"}]) == ("0", "2", "3")


@pytest.mark.parametrize(
    ("values", "largest", "kurtosis"),
    [
        ([-3.0, 3.0, -3.0, 3.0], 3, -2),
        ([0.0] * 98 + [-1.0, 1.0], 1, 47),  # m2 = m4 = 1/50
        ([1e-200, -1e-200], 1e-200, -2),
        ([1e200, -1e200, 0.0, 0.0], 1e200, -1),
    ],
)
def test_a_distribution_has_its_excess_kurtosis(values, largest, kurtosis):
    found = distribution(torch.tensor(values, dtype=torch.float64).reshape(2, -1))

    assert found.largest == largest
    assert found.excess_kurtosis == pytest.approx(kurtosis, abs=1e-9)


def test_normal_elements_have_nearly_no_excess_and_equal_ones_none_at_all():
    assert distribution(draw(200_000)).excess_kurtosis == pytest.approx(0, abs=0.05)
    assert math.isnan(distribution(torch.zeros(5)).excess_kurtosis)
    assert math.isnan(distribution(torch.tensor([math.nan, 1.0])).excess_kurtosis)


def test_output_gradients_of_cross_entropy_are_probabilities_less_the_class(images):
    logits = outputs_of(copy.deepcopy(images.network), images.block.inputs)[-1].detach()
    wanted = (logits.softmax(1) - functional.one_hot(images.block.targets, 3)) / 7

    found = output_gradients(images, images.here)

    torch.testing.assert_close(found.gradients, wanted)
    commonest = logits.argmax(1).bincount().max().item()
    assert found.same_class == commonest / 7


def test_a_network_of_one_class_gives_all_rows_the_same():
    network = nn.Linear(4, 3).double()
    with torch.no_grad():
        network.bias.copy_(torch.tensor([0.0, 100.0, 0.0]))
    at = at_of(network, draw(9, 4), torch.arange(9) % 3)

    assert output_gradients(at, at.here).same_class == 1
    assert math.isnan(output_gradients(at, at.here * math.nan).same_class)


def around(at, index):
    """What enters a layer, and the gradient at what leaves it."""
    network = copy.deepcopy(at.network)
    given = network[:index](at.block.inputs).detach()
    left = network[index](given)
    loss = at.loss(network[index + 1 :](left), at.block.targets)
    return given, torch.autograd.grad(loss, left)[0]


def summands(at, index):
    """What each row and position adds to a layer's weight gradient, (n, outputs, inputs)."""
    given, gradient = around(at, index)
    layer = at.network[index]
    if isinstance(layer, nn.Conv2d):
        unfolded = functional.unfold(
            given, layer.kernel_size, padding=layer.padding, stride=layer.stride
        )
        given, gradient = unfolded.transpose(1, 2), gradient.flatten(2).transpose(1, 2)
    given, gradient = given.flatten(0, -2), gradient.flatten(0, -2)
    return gradient[:, :, None] * given[:, None, :]


@pytest.mark.parametrize("index", [0, 3, 5])
def test_cancellation_is_that_of_every_summand(images, index):
    terms = summands(images, index)
    gradient = images.gradients_of(dict(images.network.named_parameters()), [f"{index}.weight"])[1]

    (found,) = cancellations(images, images.here, [str(index)])

    torch.testing.assert_close(terms.sum(0).flatten(), gradient[f"{index}.weight"].flatten())
    assert found.name == str(index)
    assert found.size_of_sum == pytest.approx(terms.sum(0).abs().mean().item(), rel=1e-10)
    assert found.sum_of_sizes == pytest.approx(terms.abs().sum(0).mean().item(), rel=1e-10)
    assert found.size_of_sum < found.sum_of_sizes


def test_one_row_of_a_linear_layer_cancels_nothing():
    network = nn.Linear(4, 3).double()
    at = at_of(network, draw(1, 4), torch.tensor([1]))

    with pytest.raises(AttributeError):
        cancellations(at, at.here, ["7"])
    wrapped = at_of(nn.Sequential(network), draw(1, 4), torch.tensor([1]))
    (found,) = cancellations(wrapped, wrapped.here, ["0"])
    assert found.size_of_sum == pytest.approx(found.sum_of_sizes)


def test_nothing_of_the_network_or_the_generators_changes(images):
    kept, state = copy.deepcopy(images.network), torch.get_rng_state()

    channel_moments(images, images.here, ["0", "5"])
    output_gradients(images, images.here)
    cancellations(images, images.here, ["0", "5"])

    tensors = images.network.state_dict()
    assert all(torch.equal(tensors[name], value) for name, value in kept.state_dict().items())
    assert all(module.training for module in images.network.modules())
    assert all(parameter.grad is None for parameter in images.network.parameters())
    assert not any(module._forward_hooks for module in images.network.modules())
    assert torch.equal(torch.get_rng_state(), state)
