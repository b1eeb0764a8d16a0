import pytest
import torch
from torch import nn

from model.measures.sites import (
    activation_sites,
    embedding_sites,
    source_of,
    watched,
    weight_sites,
)

RESIDUAL = [
    {"kind": "activation", "activation": "gelu"},
    {"kind": "linear", "out_features": 8},
    {"kind": "norm"},
    {"kind": "activation", "activation": "tanh"},
    {
        "kind": "residual",
        "projection": True,
        "layers": [
            {"kind": "linear", "out_features": 6},
            {"kind": "activation", "activation": "identity"},
            {"kind": "linear", "out_features": 6},
        ],
    },
    {"kind": "activation", "activation": "relu"},
    {"kind": "linear"},
]


@pytest.fixture
def network(make_network):
    return make_network(RESIDUAL, norm="batch")


def test_activation_layers_are_named_as_in_the_state_dict_in_network_order(network):
    found = activation_sites(network)

    assert [site.name for site in found] == ["0", "3", "4.branch.1", "5"]
    assert [site.kind for site in found] == ["gelu", "tanh", "identity", "relu"]
    assert all(network.get_submodule(site.name) is site.module for site in found)


def test_layers_with_weights_are_those_with_a_matrix_and_no_norm(network):
    found = weight_sites(network)

    assert [site.name for site in found] == ["1", "4.branch.0", "4.branch.2", "4.projection", "6"]
    assert all(f"{site.name}.weight" in network.state_dict() for site in found)


def test_embeddings_are_apart_from_the_layers_with_weights():
    network = nn.Sequential(nn.Embedding(5, 4), nn.Unflatten(1, (1, 1)), nn.Conv2d(1, 2, 1))

    assert [site.name for site in weight_sites(network)] == ["2"]
    assert [site.name for site in embedding_sites(network)] == ["0"]
    assert embedding_sites(network)[0].kind == "embedding"


def test_layers_are_counted_as_the_plan_counts_them(network, make_checked):
    planned = make_checked(RESIDUAL, norm="batch").plan

    assert [site.name for site in weight_sites(network)] == [
        layer.name for layer in planned.walk() if layer.has_weights
    ]


def test_the_weights_of_a_unit_are_those_of_the_layer_before_and_never_a_projection(network):
    sources = [source_of(network, site) for site in activation_sites(network)]

    assert [one and one.name for one in sources] == [None, "1", "4.branch.0", "4.branch.2"]


def test_every_pass_is_noted_with_input_and_output(network):
    seen = []
    x = torch.zeros(5, 4, dtype=torch.float64)

    with watched(activation_sites(network), lambda site, x, y: seen.append((site.name, x, y))):
        network(x)
        network(x)

    assert [name for name, _, _ in seen] == ["0", "3", "4.branch.1", "5"] * 2
    assert seen[0][1] is x
    assert torch.equal(seen[1][2], seen[1][1].tanh())


class Stopped(Exception):
    pass


def test_the_hooks_are_gone_even_after_an_error(network, unchanged):
    with unchanged(network), pytest.raises(Stopped), watched(activation_sites(network), print):
        raise Stopped
