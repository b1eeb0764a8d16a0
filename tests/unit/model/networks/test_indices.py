"""Indices that are looked up: torch's own answers and gradients, and rows that are refused."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from model.errors import InputRefused
from model.networks.build import build
from model.networks.indices import Columns, Embedding, refuse_indices
from model.networks.init import initialize
from model.plan import plan
from model.spec import Init

EMBEDDING = {"kind": "embedding", "num_embeddings": 7, "embedding_dim": 4}
FLATTEN = {"kind": "flatten"}
LINEAR = {"kind": "linear"}
ROWS = torch.tensor([[0.0, 6.0, 3.0], [3.0, 3.0, 1.0]])


@pytest.fixture
def built(make_spec, make_facts):
    def run(layers, shape=(3,), init=None, **fields) -> nn.Sequential:
        planned = plan(make_spec(layers, scaling="none", **fields), make_facts(shape, 5))
        network = build(planned, dtype=torch.float64)
        start = Init.model_validate(init or {})
        initialize(network, planned, start, torch.Generator().manual_seed(2))
        return network

    return run


def test_an_embedding_answers_as_torchs_and_so_does_its_gradient(built):
    layer = built([EMBEDDING, FLATTEN, LINEAR])[0]
    weight = layer.weight.detach().clone().requires_grad_()
    expected = nn.functional.embedding(ROWS.long(), weight)
    factors = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)).double()

    given = layer(ROWS)
    (given * factors).sum().backward()
    (expected * factors).sum().backward()

    assert given.shape == (2, 3, 4)
    assert torch.equal(given, expected)
    assert torch.equal(layer.weight.grad, weight.grad)
    assert not weight.grad[[2, 4, 5]].any()


def test_a_network_of_indices_loads_strictly_into_torchs_layers(built):
    ours = built([EMBEDDING, FLATTEN, {**LINEAR, "out_features": 6}, LINEAR])
    theirs = nn.Sequential(
        nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 6), nn.Linear(6, 5)
    ).double()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    assert torch.equal(ours(ROWS), theirs(ROWS.long()))


@pytest.mark.parametrize("init", [{"gain": 9.0}, {"kind": "kaiming_uniform", "bias": "normal"}])
def test_an_embedding_starts_standard_normal_whatever_the_init_says(built, init):
    wide = {**EMBEDDING, "num_embeddings": 400, "embedding_dim": 100}
    weight = built([wide, FLATTEN, LINEAR], init=init)[0].weight
    drawn = torch.randn(400, 100, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.equal(weight, drawn)


def test_embeddings_draw_in_the_order_of_the_layers(built):
    network = built([EMBEDDING, FLATTEN, LINEAR], init={"kind": "normal"})
    generator = torch.Generator().manual_seed(2)
    for layer in (network[0], network[2]):
        drawn = torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64)
        assert torch.equal(layer.weight, drawn)


def test_columns_are_the_first_of_the_last_axis():
    x = torch.arange(24.0).view(2, 3, 4)
    assert torch.equal(Columns(2)(x), x[:, :, :2])
    assert repr(Columns(2)) == "Columns(first=2)"


def test_an_unflattened_row_is_torchs(built):
    network = built([{"kind": "unflatten", "shape": [2, 1, 3]}, FLATTEN, LINEAR], shape=(6,))
    x = torch.arange(12.0).double().view(2, 6)
    assert torch.equal(network[0](x), nn.Unflatten(1, (2, 1, 3))(x))


BAD: list[Any] = [7, -1, 0.5, 2.000001, 1e30]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kind", [np.float64, torch.tensor])
def test_rows_that_hold_no_index_are_refused_by_their_number(built, bad, kind):
    network = built([EMBEDDING, FLATTEN, LINEAR])
    refuse_indices(network, ROWS)
    rows = kind([[0.0, 1.0, 2.0], [0.0, 6.0, bad], [bad, bad, bad]])
    rows = rows if isinstance(rows, torch.Tensor) else np.asarray(rows)
    with pytest.raises(InputRefused) as refused:
        refuse_indices(network, rows)
    assert refused.value.message == (
        "row 1 holds a value that is no index of the embedding at 0, which has whole numbers "
        "from 0 to 6"
    )
    assert refused.value.metadata == {"row": 1, "layer": "0", "largest": 6}


def test_only_what_reaches_the_embedding_is_looked_at(built):
    layers = [{"kind": "unflatten", "shape": [2, 3]}, {"kind": "columns", "first": 2}, EMBEDDING]
    network = built([*layers, FLATTEN, LINEAR], shape=(6,))
    assert isinstance(network[2], Embedding)
    refuse_indices(network, np.array([[0, 1, 99.5, 2, 3, -1]]))
    with pytest.raises(InputRefused, match="at 2"):
        refuse_indices(network, np.array([[0, 1, 99.5, 2, 7, -1]]))


def test_a_network_without_indices_takes_any_number(built):
    refuse_indices(built([FLATTEN, LINEAR]), np.array([[0.5, -1.0, 1e30]]))
