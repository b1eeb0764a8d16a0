import copy
import math

import pytest
import torch
from torch.nn import functional

from model import spec
from model.measures.covariate_shift import layers_asked, passes, probe, weighted_layers
from model.measures.probe import Block, Setting
from model.measures.shadow import generators_kept, moment
from model.networks.build import build
from model.networks.init import initialize
from model.plan import Limits, check
from model.training.losses import loss_function
from model.training.optimizers import build_optimizer

LIMITS = Limits(2**63, 2**63)
ASKED = spec.CovariateShift(kind="covariate_shift")


def asked_for(layers):
    return ASKED.model_copy(update={"layers": layers})


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def make_step(make_spec, make_facts):
    """Both moments of one real optimizer step, in float64, and the probe of all its layers."""

    def make(network, inputs, targets, *, classes=True, outputs=3, **fields):
        asked = make_spec(network, precision="float64", init={"bias": "normal"}, **fields)
        facts = make_facts(inputs.shape[1:], outputs, rows=500, classes=classes)
        checked = check(asked, facts, LIMITS)
        built = build(checked.plan, dtype=torch.float64)
        initialize(built, checked.plan, asked.init, torch.Generator().manual_seed(1))
        loss = loss_function(checked.spec.loss.kind)
        block = Block(inputs, targets)
        before = moment(built, 0, block, (), 0.3)
        optimizer = build_optimizer(asked.optimizer, built)
        loss(built(inputs), targets).backward()
        optimizer.step()
        after = moment(built, 1, block, (), 0.3)
        return before, after, probe(ASKED, Setting(checked, loss))

    return make


LINEAR_1 = {"kind": "linear", "out_features": 1, "bias": False}
CHAIN = [LINEAR_1, LINEAR_1, {"kind": "linear", "bias": False}]


def test_the_chain_of_three_neurons_shifts_as_by_hand(make_step):
    """z_a = w_a x, z_b = w_b z_a, z_c = w_c z_b, L = (z_c - y)^2, one simultaneous step."""
    x, y, lr = 1.5, 0.7, 0.3
    before, after, measure = make_step(
        CHAIN,
        torch.tensor([[x]], dtype=torch.float64),
        torch.tensor([[y]], dtype=torch.float64),
        classes=False,
        outputs=1,
        optimizer={"kind": "sgd", "lr": lr},
    )
    a, b, c = (parameter.item() for parameter in before.network.parameters())
    error = 2 * (c * b * a * x - y)
    new_a, new_b = a - lr * error * c * b * x, b - lr * error * c * a * x
    by_b, by_c = error * c * a * x, error * b * a * x
    new_by_b = 2 * (c * b * new_a * x - y) * c * new_a * x
    new_by_c = 2 * (c * new_b * new_a * x - y) * new_b * new_a * x

    read = measure.compare(before, after)

    assert [parameter.item() for parameter in after.network.parameters()][:2] == pytest.approx(
        [new_a, new_b], rel=1e-14
    )
    assert read.values["covariate_shift.l2.1"] == 0
    assert read.values["covariate_shift.l2.2"] == pytest.approx(abs(new_by_b - by_b), rel=1e-12)
    assert read.values["covariate_shift.l2.3"] == pytest.approx(abs(new_by_c - by_c), rel=1e-12)
    assert read.values["covariate_shift.cosine.2"] == math.copysign(1, new_by_b * by_b)
    assert read.values["covariate_shift.cosine.3"] == math.copysign(1, new_by_c * by_c)
    assert [one["before"] for one in read.data["layers"]][1:] == pytest.approx(
        [abs(by_b), abs(by_c)], rel=1e-5
    )


NORM, TANH = {"kind": "norm"}, {"kind": "activation", "activation": "tanh"}
THREE = [
    *({"kind": "linear", "out_features": 5}, NORM, TANH),
    *({"kind": "linear", "out_features": 4}, NORM, TANH),
    {"kind": "linear"},
]
EARLIER = {  # by hand: what comes before each weight
    "0.weight": [],
    "3.weight": ["0.weight", "0.bias", "1.weight", "1.bias"],
    "6.weight": [
        *("0.weight", "0.bias", "1.weight", "1.bias"),
        *("3.weight", "3.bias", "4.weight", "4.bias"),
    ],
}


def written_out(tensors, x, targets):
    """The network of `THREE` in training mode, its norms by their formula."""
    for linear, norm in (("0", "1"), ("3", "4")):
        x = functional.linear(x, tensors[f"{linear}.weight"], tensors[f"{linear}.bias"])
        x = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()
        x = torch.tanh(x * tensors[f"{norm}.weight"] + tensors[f"{norm}.bias"])
    return functional.cross_entropy(
        functional.linear(x, tensors["6.weight"], tensors["6.bias"]), targets
    )


@pytest.mark.parametrize(
    "optimizer", [{"kind": "sgd", "lr": 0.3, "weight_decay": 0.1}, {"kind": "adam", "lr": 0.05}]
)
def test_three_layers_with_norms_shift_as_torch_func_says(make_step, optimizer):
    x, targets = draw(12, 4), torch.arange(12) % 3
    before, after, measure = make_step(THREE, x, targets, norm="batch", optimizer=optimizer)
    old = {name: one.detach() for name, one in before.network.named_parameters()}
    new = {name: one.detach() for name, one in after.network.named_parameters()}

    read = measure.compare(before, after)

    for number, (name, earlier) in enumerate(EARLIER.items(), 1):
        mixed = old | {one: new[one] for one in earlier}
        gradients = [
            torch.func.grad(written_out)(tensors, x, targets)[name].flatten()
            for tensors in (old, mixed)
        ]
        l2 = (gradients[0] - gradients[1]).norm().item()
        cosine = functional.cosine_similarity(*gradients, dim=0).item()
        assert read.values[f"covariate_shift.l2.{number}"] == pytest.approx(l2, rel=1e-9)
        assert read.values[f"covariate_shift.cosine.{number}"] == pytest.approx(cosine, abs=1e-9)
    assert read.values["covariate_shift.l2.2"] > 0


def test_no_step_is_no_shift(make_step):
    x, targets = draw(12, 4), torch.arange(12) % 3
    before, _, measure = make_step(THREE, x, targets, norm="batch")

    read = measure.compare(before, before)

    assert [read.values[f"covariate_shift.l2.{n}"] for n in (1, 2, 3)] == [0, 0, 0]
    cosines = [read.values[f"covariate_shift.cosine.{n}"] for n in (1, 2, 3)]
    assert cosines == pytest.approx([1, 1, 1], abs=1e-14)


def test_the_probe_leaves_both_moments_as_they_were(make_step):
    x, targets = draw(12, 4), torch.arange(12) % 3
    before, after, measure = make_step(THREE, x, targets, norm="batch")
    kept = [copy.deepcopy(one.network) for one in (before, after)]

    with generators_kept(torch.device("cpu")):
        measure.compare(before, after)

    for old, one in zip(kept, (before, after), strict=True):
        tensors = one.network.state_dict()
        assert all(torch.equal(tensors[name], value) for name, value in old.state_dict().items())
        modes = [module.training for module in one.network.modules()]
        assert modes == [module.training for module in old.modules()]
        assert all(parameter.grad is None for parameter in one.network.parameters())


def test_the_probe_keeps_nothing_between_two_steps(make_step):
    x, targets = draw(12, 4), torch.arange(12) % 3
    before, after, measure = make_step(THREE, x, targets, norm="batch")

    assert measure.compare(before, after) == measure.compare(before, after)


def test_a_network_that_diverged_reads_null(make_step):
    x, targets = draw(12, 4), torch.arange(12) % 3
    before, after, measure = make_step(THREE, x, targets)
    with torch.no_grad():
        after.network[0].weight.fill_(math.nan)

    read = measure.compare(before, after)

    assert math.isnan(read.values["covariate_shift.l2.2"])
    assert read.data["layers"][1]["l2"] is None
    assert read.data["layers"][1]["after"] is None
    assert read.data["layers"][1]["before"] > 0
    assert read.data["layers"][0]["l2"] == 0


@pytest.fixture
def make_checked(make_spec, make_facts):
    def make(network, **fields):
        return check(make_spec(network, **fields), make_facts(rows=500), LIMITS)

    return make


@pytest.mark.parametrize(
    ("hidden", "numbers"), [(24, [9, 17, 25]), (2, [1, 2, 3]), (1, [1, 2]), (13, [5, 10, 14])]
)
def test_without_a_choice_the_layers_are_at_thirds_of_the_depth(make_checked, hidden, numbers):
    checked = make_checked({"kind": "mlp", "hidden": [4] * hidden})

    assert [layer.number for layer in layers_asked(ASKED, checked.plan)] == numbers


def test_layers_are_ascending_and_each_is_there_once(make_checked):
    checked = make_checked(THREE)
    asked = asked_for((3, 1, 3))

    assert [layer.name for layer in layers_asked(asked, checked.plan)] == ["0", "4"]


def test_a_network_without_weights_has_no_shift(make_step):
    targets = torch.arange(12) % 3
    before, after, measure = make_step([NORM], draw(12, 3), targets, norm="batch")

    assert measure.compare(before, after).data == {"layers": []}


def test_a_probe_costs_a_gradient_and_one_for_each_layer_behind_another(make_checked):
    checked = make_checked(THREE, batch_size=20)

    assert passes(ASKED, checked) == 20 * 3 * 3  # the first layer has nothing before it
    assert passes(asked_for((3,)), checked) == 20 * 3 * 2


def test_a_norm_in_front_of_the_first_layer_comes_before_it(make_checked):
    checked = make_checked([NORM, *THREE], norm="batch", batch_size=20)
    first = weighted_layers(checked.plan)[0]

    assert first.before == ("0",)
    assert passes(ASKED, checked) == 20 * 3 * 4


def test_inside_a_residual_the_layers_before_it_and_in_front_of_it_come_before(make_checked):
    inner = {"kind": "residual", "layers": [NORM, {"kind": "linear", "out_features": 8}]}
    layers = [{"kind": "linear", "out_features": 8}, inner, {"kind": "linear"}]
    found = weighted_layers(make_checked(layers, norm="batch").plan)

    assert [layer.name for layer in found] == ["0", "1.branch.1", "2"]
    assert found[1].before == ("0", "1.branch.0")
    assert found[2].before == ("0", "1.branch.0", "1.branch.1")
