import copy
import math

import pytest
import torch

from model.networks.build import build
from model.norms.batch import BatchNorm
from model.plan import plan
from model.statistics.adapt import adapted

N_ROWS = 24
CONV = {"kind": "conv2d", "out_channels": 5}
NORM, FLAT, OUT = {"kind": "norm"}, {"kind": "flatten"}, {"kind": "linear"}
NETWORKS = {
    "mlp": ((12,), {"kind": "mlp", "hidden": [9, 8]}),
    "images": ((2, 7, 6), [CONV, NORM, {"kind": "activation"}, CONV, NORM, FLAT, OUT]),
}
CONVENTIONS = {"variance": {}, "deviation": {"running": "deviation", "eps": 1e-5}}


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def make(request, make_spec, make_facts):
    shape, layers = request.param

    def make(**convention):
        spec = make_spec(layers, norm={"kind": "batch", **convention})
        network = build(plan(spec, make_facts(shape, outputs=3)), dtype=torch.float64).eval()
        for index, tensor in enumerate(network.requires_grad_(False).state_dict().values()):
            if tensor.is_floating_point():
                tensor.copy_(draw(*tensor.shape, seed=index).abs() + 0.1)
        return network, 3 * draw(N_ROWS, *shape, seed=50) - 1

    return make


def by_paper(network, rows, source_rows):
    """One pass over all rows; each layer mixes, then normalizes by the mix."""
    n = len(rows)
    x, found = rows, {}
    for name, layer in network.named_children():
        if isinstance(layer, BatchNorm):
            axes = [0, *range(2, x.dim())]
            spread = layer.running_spread
            deviates = layer.convention.running == "deviation"
            source = spread**2 if deviates else spread
            mean = (source_rows * layer.running_mean + n * x.mean(axes)) / (source_rows + n)
            biased = x.var(axes, correction=0)
            variance = (source_rows * source + n * biased) / (source_rows + n)
            along = (-1, *[1] * (x.dim() - 2))
            divisor = variance.sqrt() + layer.eps if deviates else (variance + layer.eps).sqrt()
            x = (x - mean.view(along)) / divisor.view(along)
            x = x * layer.weight.view(along) + layer.bias.view(along)
            found[name] = (mean, variance)
        else:
            x = layer(x)
    return found


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS)
@pytest.mark.parametrize("source_rows", [0, 1, 16, 300])
@pytest.mark.parametrize("size", [1, 7, N_ROWS])
def test_it_is_the_paper_s_mixture_layer_by_layer(make, convention, source_rows, size):
    network, rows = make(**convention)

    found = adapted(network, rows.split(size), source_rows)

    expected = by_paper(network, rows, source_rows)
    assert list(found) == list(expected)
    for name, (mean, variance) in expected.items():
        torch.testing.assert_close(found[name].mean, mean, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found[name].variance, variance, rtol=1e-10, atol=0)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_source_that_weighs_nothing_is_forgotten_even_where_it_is_not_finite(make, poison):
    network, rows = make()
    sound = adapted(network, (rows,), 0)
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.running_mean[1], module.running_var[2] = poison, poison

    found = adapted(network, (rows,), 0)

    for name, statistics in sound.items():
        torch.testing.assert_close(found[name].mean, statistics.mean, rtol=0, atol=0)
        torch.testing.assert_close(found[name].variance, statistics.variance, rtol=0, atol=0)


def test_an_infinite_weight_of_the_source_is_no_adaptation(make):
    network, rows = make()

    found = adapted(network, [rows], math.inf)

    for name, statistics in found.items():
        layer = network.get_submodule(name)
        assert torch.equal(statistics.mean, layer.running_mean)
        assert torch.equal(statistics.variance, layer.running_var)


def test_a_single_row_adapts(make):
    network, rows = make()

    for statistics in adapted(network, [rows[:1]], 4).values():
        assert statistics.variance.isfinite().all()


@pytest.mark.parametrize("source_rows", [-1, math.nan])
def test_a_negative_weight_is_refused(make, source_rows):
    network, rows = make()

    with pytest.raises(ValueError, match="expected source_rows of 0 or more"):
        adapted(network, [rows], source_rows)


def test_the_network_stays_as_it_was(make):
    network, rows = make()
    before = copy.deepcopy(network.state_dict())

    adapted(network, [rows], 4)

    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
