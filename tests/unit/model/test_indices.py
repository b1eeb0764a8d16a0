"""Indices as far as integers alone tell: where an embedding may stand, and on which rows."""

from dataclasses import replace

import pytest

from model.errors import SpecRefused
from model.plan import Limits, check, plan

EMBEDDING = {"kind": "embedding", "num_embeddings": 27, "embedding_dim": 10}
FLATTEN = {"kind": "flatten"}
LINEAR = {"kind": "linear"}
LIMITS = Limits(10**7, 10**10)


@pytest.fixture
def checked(make_spec, make_facts):
    """A network of indices on rows of three values, checked."""

    def run(before=(), shape=(3,), scaling="none", embedding=EMBEDDING, **facts):
        spec = make_spec([*before, embedding, FLATTEN, LINEAR], scaling=scaling)
        return check(spec, replace(make_facts(shape), **facts), LIMITS)

    return run


def test_every_index_becomes_its_vector(checked):
    shapes = [layer.output_shape for layer in checked(indices=27).plan.layers]
    assert shapes == [(3, 10), (30,), (10,)]
    assert checked().plan.parameters == 27 * 10 + 30 * 10 + 10
    assert checked().sizes[0]["parameters"] == 270


def test_the_network_of_three_characters_has_the_notebooks_parameters(make_spec, make_facts):
    # Karpathy's makemore, part 3: 27 symbols, 10 values each, 200 units with batch norm.
    hidden = {"kind": "linear", "out_features": 200, "bias": False}
    behind = [FLATTEN, hidden, {"kind": "norm"}, {"kind": "activation"}, LINEAR]
    spec = make_spec([EMBEDDING, *behind], norm="batch", scaling="none")
    assert plan(spec, make_facts((3,), 27)).parameters == 12_097


def test_rows_are_rearranged_before_they_are_looked_up(checked):
    before = [{"kind": "unflatten", "shape": [2, 4]}, {"kind": "columns", "first": 3}]
    shapes = [layer.output_shape for layer in checked(before, (8,)).plan.layers]
    assert shapes[:4] == [(2, 4), (2, 3), (2, 3, 10), (60,)]


@pytest.mark.parametrize(
    "before",
    [
        {"kind": "activation"},
        {"kind": "dropout"},
        {**LINEAR, "out_features": 3},
        {"kind": "residual", "layers": [FLATTEN]},
        EMBEDDING,
    ],
    ids=lambda layer: layer["kind"],
)
def test_an_embedding_behind_a_layer_that_computes_is_refused(make_spec, make_facts, before):
    spec = make_spec([before, EMBEDDING, FLATTEN, LINEAR], scaling="none")
    with pytest.raises(SpecRefused, match="only flatten, unflatten and columns") as refused:
        plan(spec, make_facts((3,)))
    assert refused.value.path == "network.layers.1"


def test_an_embedding_in_a_residual_is_refused(make_spec, make_facts):
    inside = {"kind": "residual", "layers": [EMBEDDING, FLATTEN], "projection": True}
    with pytest.raises(SpecRefused, match="only flatten") as refused:
        plan(make_spec([inside, LINEAR], scaling="none"), make_facts((3,)))
    assert refused.value.path == "network.layers.0.layers.0"


@pytest.mark.parametrize("scaling", ["standard", "minmax", "binary"])
def test_a_scaling_is_refused(checked, scaling):
    with pytest.raises(SpecRefused, match="no scaling may change") as refused:
        checked(scaling=scaling)
    assert refused.value.path == "scaling"


@pytest.mark.parametrize(
    ("facts", "path", "message"),
    [
        (
            {"indices": 28},
            "network.layers.0.num_embeddings",
            "the dataset has indices up to 27; 27 embeddings end at 26",
        ),
        (
            {"indices": 0},
            "network.layers.0",
            "the dataset has a value that is no whole number from 0: it is no index",
        ),
        (
            {"images": True},
            "network.layers.0",
            "the rows are pixels, which are divided by 255 first: they are no indices",
        ),
    ],
)
def test_rows_that_are_known_to_hold_no_such_index_are_refused(checked, facts, path, message):
    shape = (1, 2, 2) if "images" in facts else (3,)
    with pytest.raises(SpecRefused) as refused:
        checked(shape=shape, **facts)
    assert (refused.value.path, refused.value.message) == (path, message)


def test_columns_that_are_left_out_may_hold_anything(checked):
    assert checked([{"kind": "columns", "first": 2}], indices=0).plan.parameters > 0


def test_without_an_embedding_rows_may_hold_anything(make_spec, make_facts):
    assert check(make_spec(), replace(make_facts(), indices=0), LIMITS).plan.parameters > 0
