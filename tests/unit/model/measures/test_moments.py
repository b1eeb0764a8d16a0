import math

import numpy as np
import pytest
import torch
from torch import nn

from model import spec
from model.measures.moments import moments_of, passes, probe
from model.measures.probe import Block
from model.networks.build import ACTIVATIONS

ASKED = spec.Moments(kind="moments")
NO_TARGETS = torch.zeros(1, dtype=torch.int64)
LAYERS = [
    {"kind": "linear", "out_features": 6},
    {"kind": "norm"},
    {"kind": "activation", "activation": "relu"},
    {"kind": "linear"},
]
#: Of N(0, 1): relu in closed form, tanh and sigmoid by quadrature, all to 1e-4.
NORMAL = {
    "relu": (1 / math.sqrt(2 * math.pi), 0.5 - 1 / (2 * math.pi)),
    "tanh": (0.0, 0.3943),
    "sigmoid": (0.5, 0.0434),
    "identity": (0.0, 1.0),
}


def blocks_of(x, *sizes):
    return [Block(part, NO_TARGETS) for part in x.split(list(sizes) or [len(x)])]


@pytest.mark.parametrize("kind", NORMAL)
def test_what_leaves_an_activation_of_normal_inputs_has_the_moments_of_the_closed_form(kind):
    shares = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    x = torch.special.ndtri(shares)[:, None]

    (found,) = moments_of(nn.Sequential(ACTIVATIONS[kind]()), blocks_of(x, 60_000, 40_000))

    mean, variance = NORMAL[kind]
    assert found.after.mean.item() == pytest.approx(mean, abs=1e-4)
    assert found.after.variance(0).item() == pytest.approx(variance, abs=1e-4)
    assert found.before.mean.item() == pytest.approx(0, abs=1e-9)
    assert found.before.variance(0).item() == pytest.approx(1, abs=1e-4)


def test_after_a_norm_and_an_activation_mean_and_variance_are_not_0_and_1(
    make_network, make_blocks
):
    """What reaches the next layer: not what the norm made."""
    network = make_network(LAYERS, norm={"kind": "batch", "eps": 0})

    (found,) = moments_of(network, make_blocks((4,), [2000]))

    np.testing.assert_allclose(found.before.mean, 0, atol=1e-12)
    np.testing.assert_allclose(found.before.variance(0), 1, rtol=1e-12)
    np.testing.assert_allclose(found.after.mean, NORMAL["relu"][0], atol=0.03)
    np.testing.assert_allclose(found.after.variance(0), NORMAL["relu"][1], atol=0.03)


def test_channels_have_the_moments_of_rows_and_positions():
    x = torch.randn((30, 3, 4, 4), generator=torch.Generator().manual_seed(0))

    (found,) = moments_of(nn.Sequential(nn.Tanh()), blocks_of(x, 7, 23))

    values = x.double().transpose(0, 1).flatten(1).numpy()
    np.testing.assert_allclose(found.before.mean, values.mean(1), rtol=1e-10)
    np.testing.assert_allclose(found.before.variance(0), values.var(1), rtol=1e-10)
    np.testing.assert_allclose(found.after.mean, np.tanh(values).mean(1), rtol=1e-5, atol=1e-7)


def test_a_probe_tells_every_unit_and_the_median_over_units(make_moment):
    at, setting = make_moment(LAYERS, 60, norm="batch")

    read = probe(ASKED, setting).look(at)

    before = at.network[:2](at.rows[0].inputs).detach().numpy()
    after = np.maximum(before, 0)
    (told,) = read.data["layers"]
    assert (told["layer"], told["name"], told["activation"], told["units"]) == (1, "2", "relu", 6)
    for side, x in (("input", before), ("output", after)):
        assert told[f"{side}_mean"] == pytest.approx(x.mean(0), rel=1e-5, abs=1e-12)
        assert told[f"{side}_sd"] == pytest.approx(x.std(0), rel=1e-5)
        means, deviations = np.abs(x.mean(0)), x.std(0)
        assert read.values[f"moments.{side}_mean.1"] == pytest.approx(np.median(means), abs=1e-9)
        assert read.values[f"moments.{side}_sd.1"] == pytest.approx(np.median(deviations))


def test_a_probe_costs_one_pass_of_the_rows(make_checked):
    assert passes(ASKED, make_checked(LAYERS, rows=100_000)) == 2000
