import json
import math

import numpy as np
import pytest
import torch

from model import spec
from model.measures.histograms import Histogram, histograms_of, passes, probe
from model.measures.readings import MOST_BYTES, measured
from model.measures.sites import activation_sites
from model.training.losses import loss_function

ASKED = spec.Histograms(kind="histograms")
LOSS = loss_function("cross_entropy")
LAYERS = [
    {"kind": "activation", "activation": "identity"},
    {"kind": "linear", "out_features": 6},
    {"kind": "norm"},
    {"kind": "activation", "activation": "tanh"},
    {"kind": "linear"},
]
RESIDUAL = {"kind": "residual", "layers": [{"kind": "activation", "activation": "tanh"}] * 30}
WHAT = ("outputs", "gradients")


def draw(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, generator=generator, dtype=torch.float64)


def test_bins_and_densities_are_numpys():
    values = draw(5000)

    found = Histogram.of(values, 32)

    density, edges = np.histogram(values.numpy(), bins=32, density=True)
    np.testing.assert_allclose(found.edges.numpy(), edges, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.density.numpy(), density, rtol=1e-9, atol=1e-12)


def test_the_area_is_one_and_the_edges_are_the_extremes():
    values = draw(777).view(7, 111)

    found = Histogram.of(values)

    assert float((found.density * found.edges.diff()).sum()) == pytest.approx(1, rel=1e-12)
    assert (found.edges[0], found.edges[-1]) == (values.min(), values.max())
    assert len(found.density) == 40


def test_the_kurtosis_of_two_points_is_minus_two_and_of_even_spread_minus_six_fifths():
    two = torch.tensor([1.0, -1.0] * 50)
    even = torch.linspace(0, 1, 100_001, dtype=torch.float64)

    assert Histogram.of(two).kurtosis == pytest.approx(-2, abs=1e-12)
    assert Histogram.of(even).kurtosis == pytest.approx(-1.2, abs=1e-4)


def test_the_kurtosis_of_a_normal_is_zero_and_of_a_laplace_three():
    shares = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    normal = torch.special.ndtri(shares)
    laplace = -(1 - 2 * (shares - 0.5).abs()).log() * (shares - 0.5).sign()

    assert Histogram.of(normal).kurtosis == pytest.approx(0, abs=2e-3)
    assert Histogram.of(laplace).kurtosis == pytest.approx(3, abs=0.02)


def test_mean_and_deviation_are_those_of_all_values():
    values = 3 + 2 * draw(1000)

    found = Histogram.of(values)

    assert found.mean == pytest.approx(float(values.mean()), rel=1e-12)
    assert found.sd == pytest.approx(float(values.std(correction=0)), rel=1e-12)


def test_equal_values_lie_in_one_bin_of_a_wide_histogram():
    found = Histogram.of(torch.full((9,), 5.0), 4)

    assert (float(found.edges[0]), float(found.edges[-1])) == (4.5, 5.5)
    assert float((found.density * found.edges.diff()).sum()) == pytest.approx(1)
    assert math.isnan(found.kurtosis)
    assert float(Histogram.of(torch.full((9,), 1e30), 4).density.sum()) > 0


def test_values_that_are_not_finite_are_in_no_bin_and_counted():
    values = torch.tensor([1.0, 2.0, math.nan, math.inf])

    found = Histogram.of(values, 4)

    assert found.not_finite == 2
    assert (float(found.edges[0]), float(found.edges[-1])) == (1, 2)
    assert math.isnan(found.sd)
    none = Histogram.of(torch.full((3,), math.nan), 4)
    assert none.to_json()["density"] == [None] * 4


def test_outputs_and_gradients_are_those_of_autograd(make_network, make_blocks):
    network = make_network(LAYERS, norm="batch")
    (block,) = make_blocks((4,), [50])

    first, second = histograms_of(network, block, LOSS)

    x = block.inputs.clone().requires_grad_()
    y = network[:4](x)
    y.retain_grad()
    LOSS(network[4](y), block.targets).backward()
    for found, expected in (
        (first.activation, x),
        (first.gradient, x.grad),
        (second.activation, y),
        (second.gradient, y.grad),
    ):
        whole = Histogram.of(expected)
        assert found.sd == pytest.approx(whole.sd, rel=1e-10)
        torch.testing.assert_close(found.edges, whole.edges)
        torch.testing.assert_close(found.density, whole.density)


def test_gradients_of_a_convolution_are_taken_at_every_position(make_network, make_blocks):
    layers = [
        {"kind": "conv2d", "out_channels": 4},
        {"kind": "activation", "activation": "relu"},
        {"kind": "flatten"},
        {"kind": "linear"},
    ]
    network = make_network(layers, (1, 5, 5))
    (block,) = make_blocks((1, 5, 5), [9])

    (found,) = histograms_of(network, block, LOSS)

    y = network[:2](block.inputs).detach().requires_grad_()
    LOSS(network[2:](y), block.targets).backward()
    torch.testing.assert_close(found.gradient.edges, Histogram.of(y.grad).edges)


def test_a_probe_reads_the_batch_in_as_many_bins_as_asked(make_moment):
    at, setting = make_moment(LAYERS, 60, norm="batch")
    asked = ASKED.model_copy(update={"bins": 12})

    read = probe(asked, setting).look(at)

    _, second = histograms_of(at.network, at.batch, LOSS, bins=12)
    assert (read.data["rows"], read.data["bins"]) == (32, 12)
    assert read.values["histograms.activation_sd.2"] == second.activation.sd
    assert read.values["histograms.gradient_sd.2"] == second.gradient.sd
    told = read.data["layers"][1]["gradients"]
    assert len(told["density"]) == 12
    assert told["low"] == pytest.approx(float(second.gradient.edges[0]), rel=1e-5)
    assert told["high"] == pytest.approx(float(second.gradient.edges[-1]), rel=1e-5)
    area = sum(told["density"]) * (told["high"] - told["low"]) / 12
    assert area == pytest.approx(1, rel=1e-4)


DEEP = {
    "of 250 blocks": ({"kind": "residual_mlp", "blocks": 250, "width": 4}, 40, 251),
    "in 256 bins": ({"kind": "mlp", "hidden": [4] * 64}, 256, 64),
    "of 810 layers": ([*[RESIDUAL] * 27, {"kind": "linear"}], 40, 810),
}


def longest(data):
    """The same data, every number that is not whole as long as a density is written at most."""
    if isinstance(data, dict):
        return {name: longest(one) for name, one in data.items()}
    if isinstance(data, list):
        return [longest(one) for one in data]
    return 1.23456e-100 if isinstance(data, float | None) else data


@pytest.mark.parametrize("deep", DEEP)
def test_histograms_of_a_very_deep_network_have_as_many_bins_as_are_kept(make_moment, deep):
    network, bins, layers = DEEP[deep]
    at, setting = make_moment(network, 20, norm="batch", batch_size=16)

    read = probe(ASKED.model_copy(update={"bins": bins}), setting).look(at)

    kept = measured("histograms", 0, read).data
    assert "left_out" not in kept
    assert 10 <= kept["bins"] < bins
    assert kept["activation_layers"] == layers
    densities = [one[what]["density"] for one in kept["layers"] for what in WHAT]
    assert {len(one) for one in densities} == {kept["bins"]}
    numbers = [one["layer"] for one in kept["layers"]]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == layers or (len(numbers) > 300 and numbers[0] == 1)
    assert 0.8 * MOST_BYTES < len(json.dumps(longest(kept))) <= MOST_BYTES


def test_a_layer_of_many_says_its_own_number_and_name(make_moment):
    at, setting = make_moment([*[RESIDUAL] * 27, {"kind": "linear"}], 50, norm="batch")

    layers = probe(ASKED, setting).look(at).data["layers"]

    sites = activation_sites(at.network)
    assert [one["name"] for one in layers] == [sites[one["layer"] - 1].name for one in layers]


def test_a_probe_costs_the_gradient_of_a_batch(make_checked):
    assert passes(ASKED, make_checked(LAYERS, batch_size=32)) == 96
