import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import nn

from model import spec
from model.measures.percentiles import passes, percentiles_of, probe
from model.measures.probe import Block

ASKED = spec.Percentiles(kind="percentiles")
NO_TARGETS = torch.zeros(1, dtype=torch.int64)
LAYERS = [
    {"kind": "linear", "out_features": 6},
    {"kind": "norm"},
    {"kind": "activation", "activation": "sigmoid"},
    {"kind": "linear", "out_features": 5},
    {"kind": "norm"},
    {"kind": "activation", "activation": "sigmoid"},
    {"kind": "linear"},
]


def blocks_of(x, *sizes):
    return [Block(part, NO_TARGETS) for part in x.split(list(sizes) or [len(x)])]


def assert_numpys(found, values):
    """values: (M, U)."""
    for level, name in ((15, "p15"), (50, "p50"), (85, "p85")):
        np.testing.assert_allclose(
            found.levels[name].numpy(), np.percentile(values, level, axis=0), rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("rows", [2, 7, 20, 101])
def test_percentiles_are_numpys(rows):
    x = torch.randn((rows, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    (found,) = percentiles_of(nn.Sequential(nn.Sigmoid()), blocks_of(x))

    assert_numpys(found, x.numpy())


def test_a_single_row_is_every_percentile():
    (found,) = percentiles_of(nn.Sequential(nn.Sigmoid()), blocks_of(torch.tensor([[2.0]])))

    assert [units.item() for units in found.levels.values()] == [2, 2, 2]


def test_percentiles_of_a_normal_are_its_quantiles():
    shares = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    x = 3 * torch.special.ndtri(shares)[:, None] + 1

    (found,) = percentiles_of(nn.Sequential(nn.Sigmoid()), blocks_of(x, 6000, 4000))

    closed = [1 + 3 * NormalDist().inv_cdf(level) for level in (0.15, 0.5, 0.85)]
    assert [one.item() for one in found.levels.values()] == pytest.approx(closed, abs=1e-3)


def test_the_input_is_what_leaves_the_norm_with_gain_and_bias(make_network, make_blocks):
    network = make_network(LAYERS, norm="batch")
    with torch.no_grad():
        network[4].weight.mul_(3)
        network[4].bias.add_(2)
    (block,) = make_blocks((4,), [40])

    (found,) = percentiles_of(network, [block])

    assert found.number == 2
    assert found.site.name == "5"
    assert_numpys(found, network[:5](block.inputs).detach().numpy())


def test_the_layers_asked_for_are_read_and_the_last_where_none_is(make_network, make_blocks):
    network, blocks = make_network(LAYERS), make_blocks((4,), [40])

    assert [one.number for one in percentiles_of(network, blocks)] == [2]
    assert [one.number for one in percentiles_of(network, blocks, layers=(2, 1))] == [1, 2]
    assert percentiles_of(network, blocks, layers=(3,)) == ()


def test_a_channel_s_values_are_those_of_rows_and_positions():
    x = torch.randn((30, 2, 4, 4), generator=torch.Generator().manual_seed(0)).double()

    (found,) = percentiles_of(nn.Sequential(nn.ReLU()), blocks_of(x, 10, 20))

    assert_numpys(found, x.transpose(0, 1).flatten(1).T.numpy())


def test_of_many_positions_some_are_taken_and_percentiles_hardly_change():
    x = torch.randn((2000, 1, 8, 8), generator=torch.Generator().manual_seed(0))

    (found,) = percentiles_of(nn.Sequential(nn.ReLU()), blocks_of(x))

    closed = [NormalDist().inv_cdf(level) for level in (0.15, 0.5, 0.85)]
    assert [one.item() for one in found.levels.values()] == pytest.approx(closed, abs=0.08)


@pytest.mark.parametrize("sizes", [[2_500], [19] * 131 + [11]])
def test_percentiles_are_those_of_the_whole_image_wherever_it_is_bright(sizes):
    """Rows of 64 columns, darkest on the left: the values are uniform on 0 to 63."""
    x = torch.arange(64.0).expand(2_500, 1, 2, 64)

    (found,) = percentiles_of(nn.Sequential(nn.ReLU()), blocks_of(x, *sizes))

    expected = np.percentile(np.arange(64), [15, 50, 85])
    # 2,500 values: three standard errors of the median, 3 * 64 * sqrt(0.25 / 2,500)
    assert [one.item() for one in found.levels.values()] == pytest.approx(expected, abs=2)


def test_a_unit_with_a_nan_has_no_percentiles():
    x = torch.tensor([[1.0, 1.0], [math.nan, 2.0]])

    (found,) = percentiles_of(nn.Sequential(nn.Sigmoid()), blocks_of(x))

    assert found.levels["p50"].isnan().tolist() == [True, False]


def test_a_probe_tells_every_unit_and_the_median_over_units(make_moment):
    at, setting = make_moment(LAYERS, 60, norm="batch")

    read = probe(ASKED, setting).look(at)

    values = at.network[:5](at.rows[0].inputs).detach()
    (told,) = read.data["layers"]
    assert (told["layer"], told["name"], told["units"]) == (2, "5", 5)
    for level, name in ((15, "p15"), (50, "p50"), (85, "p85")):
        expected = np.percentile(values.numpy(), level, axis=0)
        assert told[name] == pytest.approx(expected, rel=1e-5)
        assert read.values[f"percentiles.{name}.2"] == pytest.approx(np.median(expected), rel=1e-9)


def test_a_probe_of_asked_layers_reads_them(make_moment):
    at, setting = make_moment(LAYERS, 60)

    read = probe(ASKED.model_copy(update={"layers": (1,)}), setting).look(at)

    assert [one["layer"] for one in read.data["layers"]] == [1]


def test_a_probe_costs_one_pass_of_the_rows(make_checked):
    assert passes(ASKED, make_checked(LAYERS, rows=100_000)) == 2000
