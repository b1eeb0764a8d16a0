import copy
import math
from bisect import bisect_right

import pytest
import torch
from torch import nn
from torch.nn import functional

from model import spec
from model.measures.crossing import log_steps
from model.measures.probe import Block, Setting
from model.measures.relative_loss import passes, probe
from model.measures.shadow import generators_kept, moment
from model.plan import Limits, check


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def asked_for(**fields):
    return spec.RelativeLoss(kind="relative_loss", **fields)


@pytest.fixture
def setting(make_spec, make_facts):
    checked = check(make_spec(batch_size=20), make_facts(rows=500), Limits(2**63, 2**63))
    return Setting(checked, functional.mse_loss)


def parabola(scale=1.0, dtype=torch.float64):
    """A linear model with the mean of squared errors: its loss is a parabola everywhere."""
    network = nn.Linear(4, 2, dtype=dtype)
    with torch.no_grad():
        network.weight.copy_(scale * draw(2, 4, seed=1))
        network.bias.zero_()
    block = Block(draw(20, 4).to(dtype), draw(20, 2, seed=2).to(dtype))
    return moment(network, 5, block, (), 0.1)


def closed_form(at):
    """L, g'g and g'Hg of the parabola, weights and bias as one vector of each output."""
    x = torch.cat([at.batch.inputs, torch.ones(20, 1)], 1).double()
    theta = torch.cat([at.network.weight, at.network.bias[:, None]], 1).detach().double()
    errors = x @ theta.T - at.batch.targets.double()
    g = 2 * errors.T @ x / errors.numel()
    bend = (2 * (x @ g.T).square().sum() / errors.numel()).item()
    return errors.square().mean().item(), g.square().sum().item(), bend


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_on_a_parabola_every_ratio_and_crossing_is_as_in_closed_form(setting, dtype):
    at = parabola(dtype=dtype)
    loss, slope, bend = closed_form(at)
    alphas = log_steps(1e-8, 1e4, 10)

    read = probe(asked_for(high=1e4), setting).look(at)

    ratios = [1 + (-alpha * slope + alpha**2 * bend / 2) / loss for alpha in alphas]
    assert read.data["alphas"] == alphas
    assert read.data["ratios"] == pytest.approx(ratios, rel=1e-5)
    raised = alphas[bisect_right(alphas, 2 * slope / bend)]
    assert read.data["raised"] == {"alpha": raised, "bound": None}
    assert read.values["relative_loss.raised"] == raised
    # The larger root of bend / 2 alpha^2 - slope alpha + L = 1000 L.
    root = (slope + math.sqrt(slope**2 + 2 * bend * 999 * loss)) / bend
    assert read.data["diverged"]["alpha"] == alphas[bisect_right(alphas, root)]
    assert read.data["loss"] == pytest.approx(loss, rel=1e-5)
    assert read.data["gradient_norm"] == pytest.approx(math.sqrt(slope), rel=1e-5)


def test_a_crossing_outside_the_grid_is_a_bound_and_no_metric(setting):
    at = parabola()
    _, slope, bend = closed_form(at)
    crossing = 2 * slope / bend

    above = probe(asked_for(low=crossing / 100, high=crossing / 2), setting).look(at)
    below = probe(asked_for(low=crossing * 2, high=crossing * 3), setting).look(at)

    assert above.data["raised"] == {"alpha": None, "bound": "above"}
    assert below.data["raised"] == {"alpha": None, "bound": "below"}
    assert below.data["diverged"] == {"alpha": None, "bound": "above"}
    assert above.values == below.values == {}


def test_the_first_crossing_counts_where_the_loss_comes_down_again(setting):
    """A sine of the step: L = (1 + sin(w) / 2)^2, passed first where sin is back at its start."""

    class Wave(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor(1.0, dtype=torch.float64))

        def forward(self, x):
            return x * (1 + torch.sin(self.w) / 2)

    one = torch.ones(1, 1, dtype=torch.float64)
    at = moment(Wave(), 0, Block(one, 0 * one), (), 0.1)
    g = (1 + math.sin(1) / 2) * math.cos(1)  # w falls: the loss comes up beyond w = -pi - 1
    crossing = (math.pi + 2) / g

    read = probe(asked_for(low=crossing / 9, high=crossing * 10, per_decade=50), setting).look(at)

    raised = read.data["raised"]["alpha"]
    assert raised / 10**0.02 <= crossing < raised
    assert min(read.data["ratios"][-20:]) < 1


@pytest.mark.parametrize("scale", [math.nan, math.inf])
def test_a_network_that_diverged_is_below_the_grid(setting, scale):
    read = probe(asked_for(), setting).look(parabola(scale))

    assert read.values == {}
    assert read.data["raised"] == read.data["diverged"] == {"alpha": None, "bound": "below"}
    assert read.data["loss"] is None
    assert set(read.data["ratios"]) == {None}


def test_a_step_into_infinity_counts_as_raised_and_reads_null(setting):
    read = probe(asked_for(low=1e-3, high=1e6, per_decade=1), setting).look(parabola(1e150))

    assert read.data["ratios"][-1] is None
    assert read.data["diverged"]["alpha"] <= 1e6


def test_at_a_minimum_of_0_no_step_raises_the_loss(setting):
    at = parabola(0.0)
    at.batch.targets.zero_()

    read = probe(asked_for(), setting).look(at)

    assert read.data["raised"] == {"alpha": None, "bound": "above"}
    assert set(read.data["ratios"]) == {None}


def test_near_a_minimum_rounding_is_no_crossing(setting):
    """In float32 the shortest steps would leave the loss as it is, or a rounding above."""
    at = parabola(dtype=torch.float32)

    read = probe(asked_for(low=1e-12, high=1e-9), setting).look(at)

    assert read.data["raised"] == {"alpha": None, "bound": "above"}


def test_the_probe_leaves_the_moment_as_it_was(make_spec, make_facts, setting):
    torch.manual_seed(0)
    layers = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)
    block = Block(draw(20, 4).float(), draw(20, 2).float())
    at = moment(nn.Sequential(*layers), 3, block, (), 0.1)
    kept = copy.deepcopy(at.network)
    measure = probe(asked_for(per_decade=1), setting)

    with generators_kept(torch.device("cpu")):
        assert measure.look(at) == measure.look(at)

    tensors = at.network.state_dict()
    assert all(torch.equal(tensors[name], value) for name, value in kept.state_dict().items())
    assert {one.dtype for one in at.network.parameters()} == {torch.float32}
    assert all(module.training for module in at.network.modules())
    assert all(parameter.grad is None for parameter in at.network.parameters())


def test_a_probe_costs_a_gradient_and_a_loss_at_each_step(setting):
    assert passes(asked_for(), setting.checked) == 20 * (3 + 91)
