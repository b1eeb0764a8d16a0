import torch
from torch import nn

from model import spec
from model.norms.batch import BatchNorm
from model.norms.layer import LayerNorm
from model.statistics.fingerprint import fingerprint
from model.statistics.layers import layer_fingerprint, norm_states, untracked


def batch_norm(channels=3, **convention):
    return BatchNorm(channels, spec.BatchNorm(kind="batch", **convention))


def bits(network):
    return {name: one.clone() for name, one in network.state_dict().items()}


def test_states_come_in_network_order_under_their_prefix():
    layer_norm = LayerNorm((3,), spec.LayerNorm(kind="layer"))
    network = nn.Sequential(
        *(nn.Tanh() for _ in range(2)), nn.Sequential(batch_norm(2), layer_norm), batch_norm(4)
    )

    assert [(one.name, len(one.mean)) for one in norm_states(network)] == [("2.0", 2), ("3", 4)]


def test_values_are_the_buffers_as_float64_copies():
    layer = batch_norm(momentum=0.25, eps=0.5)
    layer(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))

    [state] = norm_states(nn.Sequential(layer))

    assert state.mean.dtype == state.variance.dtype == torch.float64
    assert torch.equal(state.mean, layer.running_mean.double())
    assert torch.equal(state.variance, layer.running_var.double())
    assert (state.momentum, state.eps, state.counter) == (0.25, 0.5, 1)
    state.mean.add_(1)
    assert not torch.equal(state.mean, layer.running_mean.double())


def test_a_running_deviation_is_squared_to_a_variance():
    layer = batch_norm(running="deviation")
    layer.running_spread.copy_(torch.tensor([0.1, 2.0, -3.0]))

    [state] = norm_states(nn.Sequential(layer))

    assert torch.equal(state.spread, layer.running_spread.double())
    assert torch.equal(state.variance, layer.running_spread.double() ** 2)


def test_a_layer_without_affine_has_neither_gain_nor_bias():
    [state] = norm_states(nn.Sequential(batch_norm(affine=False)))

    assert state.gain is None
    assert state.bias is None


def test_a_layer_whose_buffer_is_gone_is_named_and_has_no_state():
    network = nn.Sequential(batch_norm(), batch_norm(), batch_norm(running="deviation"))
    network[0].running_mean = None
    network[2].running_deviation = None

    assert [one.name for one in norm_states(network)] == ["1"]
    assert untracked(network) == ("0", "2")


def test_only_untouched_statistics_are_initial():
    network = nn.Sequential(batch_norm(), batch_norm(), batch_norm())
    network[1].running_mean[2] = 1e-30
    network[2].running_var[0] = 1 + 2**-23

    assert [one.is_initial for one in norm_states(network)] == [True, False, False]


def test_a_layers_fingerprint_is_that_of_its_statistics_alone():
    network = nn.Sequential(batch_norm(), batch_norm())
    own = {name: one for name, one in network.state_dict().items() if name.startswith("0.")}
    first = layer_fingerprint("0", network[0])

    assert first == fingerprint(own)
    assert first != layer_fingerprint("1", network[1])
    network[0].weight.data.add_(1)
    assert layer_fingerprint("0", network[0]) == first
    network[0].running_mean.add_(1)
    assert layer_fingerprint("0", network[0]) != first


def test_reading_changes_nothing():
    network = nn.Sequential(batch_norm(), nn.Dropout()).train()
    before, generator = bits(network), torch.get_rng_state()

    _ = [layer_fingerprint(one.name, one.module) for one in norm_states(network)]

    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(module.training for module in network.modules())
