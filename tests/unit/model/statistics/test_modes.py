import copy

import pytest
import torch
from torch import nn

from model.networks.build import build
from model.networks.init import initialize
from model.plan import plan
from model.statistics.modes import batch_norms, batch_statistics

RESIDUAL = [
    {"kind": "linear", "out_features": 8},
    {"kind": "norm"},
    {"kind": "residual", "layers": [{"kind": "linear", "out_features": 8}, {"kind": "norm"}]},
    {"kind": "dropout", "p": 0.5},
    {"kind": "linear"},
]


@pytest.fixture
def network(make_spec, make_facts):
    """Two norms, one inside a residual, and a dropout; its running values have moved."""
    spec = make_spec(RESIDUAL, norm={"kind": "batch"}, precision="float64")
    planned = plan(spec, make_facts(input_shape=(4,), outputs=3))
    network = build(planned, dtype=torch.float64)
    initialize(network, planned, spec.init, torch.Generator().manual_seed(0))
    network(draw(64))
    return network.eval()


def draw(rows, seed=0):
    return 2 * torch.randn(
        (rows, 4), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def modes(network):
    return [(one.training, getattr(one, "by_batch", None)) for one in network.modules()]


def in_training_mode(network, names):
    """A copy whose named layers alone are in training mode, which moves the copy."""
    other = copy.deepcopy(network).eval()
    for name in names:
        other.get_submodule(name).train()
    return other


def test_norms_are_named_as_in_the_state_dict_in_network_order(network):
    assert list(batch_norms(network)) == ["1", "2.branch.1"]
    assert all(f"{name}.running_mean" in network.state_dict() for name in batch_norms(network))


@pytest.mark.parametrize("names", [(), ("1",), ("2.branch.1",), ("1", "2.branch.1"), None])
def test_the_named_layers_normalize_by_the_batch_and_the_others_do_not(network, names):
    x = draw(16, 1)
    chosen = list(batch_norms(network)) if names is None else names
    expected = in_training_mode(network, chosen)(x)

    with batch_statistics(network, names):
        assert torch.equal(network(x), expected)

    assert torch.equal(network(x), in_training_mode(network, ())(x))


@pytest.mark.parametrize("names", [("1",), None])
def test_nothing_is_moved_and_nothing_is_drawn(network, names):
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    random = torch.get_rng_state()

    with batch_statistics(network, names):
        network(draw(16, 1))

    assert all(torch.equal(network.state_dict()[name], tensors[name]) for name in tensors)
    assert torch.equal(torch.get_rng_state(), random)


def test_every_module_gets_back_its_own_mode(network):
    network.train()
    network[1].eval()
    before = modes(network)

    with batch_statistics(network):
        assert not any(one.training for one in network.modules())

    assert modes(network) == before


def test_the_inner_of_two_decides_and_then_the_outer_again(network):
    x = draw(16, 1)
    before = modes(network)

    with batch_statistics(network):
        everywhere = modes(network)
        with batch_statistics(network, ("1",)):
            assert torch.equal(network(x), in_training_mode(network, ("1",))(x))
        assert modes(network) == everywhere

    assert modes(network) == before


class Stopped(Exception):
    pass


def test_an_error_inside_restores_the_modes(network):
    network.train()
    before = modes(network)

    with pytest.raises(Stopped), batch_statistics(network):
        raise Stopped

    assert modes(network) == before


def test_an_unknown_layer_is_refused_before_anything_changes(network):
    before = modes(network)

    with (
        pytest.raises(ValueError, match=r"^no batch-norm layers of this network: 0, 9$"),
        batch_statistics(network, ("9", "1", "0")),
    ):
        pass

    assert modes(network) == before


def test_a_network_without_batch_norms_is_put_into_eval_mode():
    network = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)).double()
    x = draw(16)

    with batch_statistics(network):
        assert torch.equal(network(x), network[0](x))

    assert network.training
