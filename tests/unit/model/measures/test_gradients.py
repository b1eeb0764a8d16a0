import copy
import math
from dataclasses import replace

import pytest
import torch

from model import spec
from model.measures.gradients import gradients_of, passes, probe
from model.measures.probe import Block
from model.measures.shadow import moment
from model.training.losses import loss_function
from model.training.optimizers import build_optimizer

ASKED = spec.Gradients(kind="gradients")
LOSS = loss_function("cross_entropy")
LAYERS = [
    {"kind": "linear", "out_features": 6},
    {"kind": "norm"},
    {"kind": "activation", "activation": "tanh"},
    {
        "kind": "residual",
        "projection": True,
        "layers": [{"kind": "linear", "out_features": 5}],
    },
    {"kind": "linear"},
]


@pytest.fixture
def make_step(make_moment):
    """Both moments of one real step, what its probe knows, and the gradients of the step."""

    def make(optimizer, layers=LAYERS, input_shape=(4,)):
        before, setting = make_moment(layers, 40, input_shape, norm="batch", optimizer=optimizer)
        network = copy.deepcopy(before.network)
        mover = build_optimizer(setting.checked.spec.optimizer, network)
        LOSS(network(before.batch.inputs), before.batch.targets).backward()
        gradients = {name: one.grad.clone() for name, one in network.named_parameters()}
        mover.step()
        return before, moment(network, 1, before.batch, before.rows, 0.1), setting, gradients

    return make


def test_norms_are_those_of_the_step_s_own_gradient(make_step):
    before, after, _, gradients = make_step({"kind": "sgd", "lr": 0.1})

    found = gradients_of(before.network, before.batch, LOSS, after=after.network)

    names = ["0", "3.branch.0", "3.projection", "4"]
    assert [one.name for one in found.layers] == names
    assert [one.gradient_norm for one in found.layers] == pytest.approx(
        [float(gradients[f"{name}.weight"].norm()) for name in names], rel=1e-12
    )
    assert found.norm == pytest.approx(
        math.sqrt(sum(float(one.square().sum()) for one in gradients.values())), rel=1e-12
    )


def test_under_plain_sgd_the_update_is_lr_times_the_gradient(make_step):
    before, after, _, gradients = make_step({"kind": "sgd", "lr": 0.1})

    found = gradients_of(before.network, before.batch, LOSS, after=after.network)

    for one in found.layers:
        weight = before.network.get_parameter(f"{one.name}.weight")
        plotted = 0.1 * gradients[f"{one.name}.weight"].std() / weight.std()
        assert one.update_to_data == pytest.approx(plotted.item(), rel=1e-9)
        assert one.gradient_to_data == pytest.approx(plotted.item() / 0.1, rel=1e-9)
        assert one.update_norm == pytest.approx(0.1 * one.gradient_norm, rel=1e-9)
        assert one.weight_norm == pytest.approx(weight.norm().item(), rel=1e-12)


def test_under_adam_the_update_is_the_one_that_was_made(make_step):
    """Its first step moves every weight by lr, whatever the gradient's size."""
    before, after, _, _ = make_step({"kind": "adam", "lr": 0.01})

    found = gradients_of(before.network, before.batch, LOSS, after=after.network)

    for one in found.layers:
        count = before.network.get_parameter(f"{one.name}.weight").numel()
        assert one.update_norm == pytest.approx(0.01 * math.sqrt(count), rel=1e-3)


def test_without_a_step_there_is_no_update(make_step):
    before, _, _, _ = make_step({"kind": "sgd", "lr": 0.1})

    found = gradients_of(before.network, before.batch, LOSS)

    assert all(math.isnan(one.update_to_data) for one in found.layers)
    assert all(one.gradient_to_data > 0 for one in found.layers)


def test_a_single_weight_has_norms_and_no_deviation(make_network, make_blocks):
    network = make_network([{"kind": "linear", "out_features": 1}, {"kind": "linear"}], (1,))
    (block,) = make_blocks((1,), [9])

    first, second = gradients_of(network, block, LOSS, after=network).layers

    assert first.update_norm == 0
    assert math.isnan(first.update_to_data)
    assert second.update_to_data == 0


def test_a_probe_reads_every_layer_of_a_step(make_step):
    before, after, setting, _ = make_step({"kind": "sgd", "lr": 0.1})

    read = probe(ASKED, setting).compare(before, after)

    found = gradients_of(before.network, before.batch, LOSS, after=after.network)
    assert read.values["gradients.norm"] == found.norm
    assert read.values["gradients.norm.3"] == found.layers[2].gradient_norm
    assert read.values["gradients.update_to_data.4"] == found.layers[3].update_to_data
    assert [one["name"] for one in read.data["layers"]] == [one.name for one in found.layers]
    assert read.data["layers"][0]["weight_norm"] == pytest.approx(
        found.layers[0].weight_norm, rel=1e-5
    )
    assert read.data["rows"] == 32


def test_embeddings_follow_the_numbered_layers_and_have_none(make_moment):
    layers = [
        {"kind": "embedding", "num_embeddings": 9, "embedding_dim": 3},
        {"kind": "flatten"},
        {"kind": "linear"},
    ]
    at, setting = make_moment(layers, 40, scaling="none")
    rows = torch.arange(32 * 4).view(32, 4).remainder(9).double()
    at = replace(at, batch=replace(at.batch, inputs=rows))

    read = probe(ASKED, setting).compare(at, at)

    assert [(one["layer"], one["name"]) for one in read.data["layers"]] == [(1, "2"), (None, "0")]
    weight = at.network[0].weight.detach()
    assert read.values["gradients.weight_norm.embedding.0"] == pytest.approx(weight.norm().item())
    assert read.values["gradients.norm.embedding.0"] > 0


def test_an_update_of_nothing_is_zero(make_moment):
    at, setting = make_moment(LAYERS, 40, norm="batch")

    read = probe(ASKED, setting).compare(at, at)

    assert read.values["gradients.update_to_data.1"] == 0


def test_a_probe_costs_the_gradient_of_the_largest_batch(make_checked):
    assert passes(ASKED, make_checked(LAYERS, batch_size=50, tail="merge", rows=410)) == 3 * max(
        make_checked(LAYERS, batch_size=50, tail="merge", rows=410).batches.sizes
    )


def test_a_step_that_float32_can_hardly_hold_is_told_as_it_was_made():
    layer = torch.nn.Sequential(torch.nn.Linear(50, 3))
    after = copy.deepcopy(layer)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        after[0].weight += 1e-6 * torch.randn((3, 50), generator=generator)
    made = after[0].weight.detach().double() - layer[0].weight.detach().double()
    rows = torch.randn((9, 50), generator=generator)

    block = Block(rows, torch.zeros(9, dtype=torch.int64))
    (found,) = gradients_of(layer, block, LOSS, after=after).layers

    assert found.update_norm == pytest.approx(float(made.norm()), rel=1e-12)
