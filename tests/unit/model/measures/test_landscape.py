import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from model import spec
from model.measures.landscape import passes, probe
from model.measures.probe import Block, Setting
from model.measures.shadow import generators_kept, moment
from model.plan import Limits, check
from model.training.losses import loss_function

ASKED = spec.Landscape(kind="landscape")


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def asked_for(**fields):
    return spec.Landscape(kind="landscape", **fields)


@pytest.fixture
def checked(make_spec, make_facts):
    asked = make_spec(loss={"kind": "squared_error"}, batch_size=20)
    return check(asked, make_facts(rows=500), Limits(2**63, 2**63))


def parabola(lr=0.02, scale=1.0):
    """A linear model with the mean of squared errors: its loss is a parabola everywhere."""
    network = nn.Linear(4, 1, bias=False, dtype=torch.float64)
    x = draw(20, 4) * torch.tensor([1.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    with torch.no_grad():
        network.weight.copy_(scale * draw(1, 4, seed=1))
    block = Block(x, draw(20, 1, seed=2))
    return moment(network, 5, block, (), lr), 2 * x.T @ x / len(x)


def gradient_of(at):
    network = copy.deepcopy(at.network)
    loss = functional.mse_loss(network(at.batch.inputs), at.batch.targets)
    loss.backward()
    return loss.item(), torch.cat([one.grad.flatten() for one in network.parameters()])


@pytest.mark.parametrize(
    "grid", [{}, {"low": 0.01, "high": 30.0, "steps": 15, "spacing": "log"}], ids=["vgg", "dln"]
)
def test_on_a_parabola_all_is_as_in_closed_form(checked, grid):
    asked = asked_for(**grid)
    at, hessian = parabola()
    loss, g = gradient_of(at)
    slope, bend, turn = g @ g, g @ hessian @ g, (hessian @ g).norm()

    read = probe(asked, Setting(checked, functional.mse_loss)).look(at)

    alphas = torch.tensor(read.data["alphas"], dtype=torch.float64)
    assert len(alphas) == asked.steps
    ends = [asked.low * at.lr, asked.high * at.lr]
    assert [alphas[0].item(), alphas[-1].item()] == pytest.approx(ends, rel=1e-12)
    losses = loss - alphas * slope + alphas.square() / 2 * bend
    assert read.data["losses"] == pytest.approx(losses.tolist(), rel=1e-5)
    assert read.data["distances"] == pytest.approx((alphas * turn).tolist(), rel=1e-5)
    values = read.values
    assert values["landscape.loss_min"] == pytest.approx(losses.min().item(), rel=1e-12)
    assert values["landscape.loss_max"] == pytest.approx(losses.max().item(), rel=1e-12)
    wanted = (alphas[0] * turn).item(), (alphas[-1] * turn).item()
    assert values["landscape.predictiveness_min"] == pytest.approx(wanted[0], rel=1e-9)
    assert values["landscape.predictiveness_max"] == pytest.approx(wanted[1], rel=1e-9)
    beta = (turn / g.norm()).item()
    assert values["landscape.beta"] == pytest.approx(beta, rel=1e-9)
    assert values["landscape.beta_at_lr"] == pytest.approx(beta, rel=1e-9)
    at_lr = (loss - at.lr * slope + at.lr**2 / 2 * bend).item()
    assert read.data["at_lr"]["loss"] == pytest.approx(at_lr, rel=1e-5)
    assert read.data["at_lr"]["alpha"] == at.lr


def test_along_an_eigenvector_beta_is_its_eigenvalue(checked):
    at, hessian = parabola()
    eigenvalues, vectors = torch.linalg.eigh(hessian)
    with torch.no_grad():  # the gradient is H w, where no target asks for anything
        at.network.weight.copy_(vectors[:, -1])
        at.batch.targets.zero_()

    read = probe(ASKED, Setting(checked, functional.mse_loss)).look(at)

    assert read.values["landscape.beta"] == pytest.approx(eigenvalues[-1].item(), rel=1e-9)


def normed(seed=0):
    torch.manual_seed(seed)
    layers = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)
    network = nn.Sequential(*layers).double()
    block = Block(draw(20, 4), torch.arange(20) % 3)
    return moment(network, 3, block, (), 0.1)


def test_with_a_norm_every_step_is_that_of_a_copy_that_took_it(checked):
    at = normed()
    measure = probe(ASKED, Setting(checked, functional.cross_entropy))

    read = measure.look(at)

    network = copy.deepcopy(at.network)
    functional.cross_entropy(network(at.batch.inputs), at.batch.targets).backward()
    before = [one.grad.clone() for one in network.parameters()]
    length = torch.cat([one.flatten() for one in before]).norm().item()
    for index, alpha in enumerate(read.data["alphas"]):
        copied = copy.deepcopy(at.network)
        with torch.no_grad():
            for parameter, gradient in zip(copied.parameters(), before, strict=True):
                parameter -= alpha * gradient
        loss = functional.cross_entropy(copied(at.batch.inputs), at.batch.targets)
        after = torch.autograd.grad(loss, list(copied.parameters()))
        apart = [(a - b).flatten() for a, b in zip(before, after, strict=True)]
        distance = torch.cat(apart).norm().item()
        assert read.data["losses"][index] == pytest.approx(loss.item(), rel=1e-5)
        assert read.data["distances"][index] == pytest.approx(distance, rel=1e-5)
        assert read.data["betas"][index] == pytest.approx(distance / (alpha * length), rel=1e-5)


def test_the_probe_leaves_the_moment_as_it_was(checked):
    at = normed()
    kept = copy.deepcopy(at.network)

    with generators_kept(torch.device("cpu")):
        first = probe(ASKED, Setting(checked, functional.cross_entropy)).look(at)
        second = probe(ASKED, Setting(checked, functional.cross_entropy)).look(at)

    assert first == second
    tensors = at.network.state_dict()
    assert all(torch.equal(tensors[name], value) for name, value in kept.state_dict().items())
    assert all(module.training for module in at.network.modules())
    assert all(parameter.grad is None for parameter in at.network.parameters())


def test_a_step_into_infinity_is_infinitely_far_and_null(checked):
    at, _ = parabola(lr=1e200)

    read = probe(ASKED, Setting(checked, functional.mse_loss)).look(at)

    assert read.values["landscape.loss_max"] == math.inf
    assert read.data["losses"] == [None] * 8
    assert read.data["loss"] > 0


@pytest.mark.parametrize("scale", [math.nan, math.inf])
def test_a_network_that_diverged_reads_null(checked, scale):
    at, _ = parabola(scale=scale)

    read = probe(ASKED, Setting(checked, functional.mse_loss)).look(at)

    assert all(math.isnan(value) for value in read.values.values())
    assert read.data["loss"] is None
    assert read.data["betas"] == [None] * 8


def test_at_a_minimum_there_is_no_beta(checked):
    at, _ = parabola(scale=0.0)
    at.batch.targets.zero_()

    read = probe(ASKED, Setting(checked, functional.mse_loss)).look(at)

    assert read.values["landscape.loss_max"] == 0
    assert read.values["landscape.predictiveness_max"] == 0
    assert math.isnan(read.values["landscape.beta"])


def test_a_probe_costs_a_gradient_here_and_one_at_each_step(checked):
    assert passes(ASKED, checked) == 20 * 3 * 9  # one of the eight is the learning rate
    without_lr = asked_for(low=2.0, high=4.0, steps=4)
    assert passes(without_lr, checked) == 20 * 3 * 6


def test_a_sum_of_squares_is_measured_as_it_is_trained(checked):
    at, _ = parabola()
    halves = probe(ASKED, Setting(checked, loss_function("half_sum_squares"))).look(at)
    means = probe(ASKED, Setting(checked, functional.mse_loss)).look(at)

    assert halves.data["loss"] == pytest.approx(10 * means.data["loss"], rel=1e-5)
    assert halves.values["landscape.beta"] == pytest.approx(10 * means.values["landscape.beta"])
