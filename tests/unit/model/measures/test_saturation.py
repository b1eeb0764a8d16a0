import math
from statistics import NormalDist

import pytest
import torch
from torch import nn

from model import spec
from model.measures.probe import Block
from model.measures.saturation import passes, probe, saturation_of

ASKED = spec.Saturation(kind="saturation")
TWO_CLASSES = torch.zeros(1, dtype=torch.int64)


def normals(count):
    """Quantiles of N(0, 1), one in the middle of each of `count` equal shares, (count, 1)."""
    shares = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return torch.special.ndtri(shares)[:, None]


def scaled(deviations, activation):
    """A layer with one unit per deviation, whose input it multiplies, and its activation."""
    linear = nn.Linear(1, len(deviations), bias=False).double()
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(deviations)[:, None])
    return nn.Sequential(linear, activation)


def blocks_of(x, *sizes):
    return tuple(Block(part, TWO_CLASSES) for part in x.split(list(sizes) or [len(x)]))


def test_the_share_of_normal_inputs_of_tanh_is_that_of_the_closed_form():
    """P(|tanh z| > .99) = 2 (1 - Phi(atanh(.99) / s)) for z ~ N(0, s^2)."""
    deviations = [0.5, 1.0, 5 / 3, 5.477, math.sqrt(500)]
    closed = [2 * (1 - NormalDist().cdf(math.atanh(0.99) / s)) for s in deviations]

    found = saturation_of(scaled(deviations, nn.Tanh()), blocks_of(normals(40_001)))

    assert found.layers[0].share.tolist() == pytest.approx(closed, abs=5e-5)
    assert found.saturated == pytest.approx(sum(closed) / 5, abs=5e-5)
    assert closed[4] == pytest.approx(0.906, abs=5e-4)  # the post's own network
    assert closed[3] == pytest.approx(0.629, abs=5e-4)  # a fan-in of 30


def test_the_share_of_normal_inputs_of_sigmoid_and_relu_is_that_of_the_closed_form():
    sigmoid = saturation_of(scaled([3.0], nn.Sigmoid()), blocks_of(normals(40_001)))
    relu = saturation_of(scaled([3.0], nn.ReLU()), blocks_of(normals(40_000)))

    closed = 2 * (1 - NormalDist().cdf(math.log(99) / 3))
    assert sigmoid.saturated == pytest.approx(closed, abs=5e-5)
    assert relu.saturated == 0.5


POST = {"kind": "mlp", "hidden": [100], "activation": "tanh", "bias": False}
NORM = {"kind": "batch", "running": "deviation", "normalize": "unbiased"}


@pytest.mark.parametrize(
    ("fan_in", "norm", "share", "within"),
    [(500, "none", 0.906, 0.01), (30, "none", 0.629, 0.02), (500, NORM, 0.0081, 0.001)],
)
def test_the_post_s_network_is_as_saturated_as_normal_inputs_say(
    fan_in, norm, share, within, make_network, make_blocks
):
    """Its weights are plain N(0, 1), so what enters tanh has the deviation sqrt(fan-in), or 1."""
    network = make_network(POST, (fan_in,), norm=norm, init={"kind": "normal"})

    found = saturation_of(network, make_blocks((fan_in,), [1000, 1000], outputs=2))

    assert found.saturated == pytest.approx(share, abs=within)
    assert not found.layers[0].flat_units.any()


def test_blocks_of_any_size_count_the_same():
    network = scaled([1.0, 3.0], nn.Tanh())
    x = normals(1001)

    whole = saturation_of(network, blocks_of(x), with_map=True).layers[0]
    parts = saturation_of(network, blocks_of(x, 500, 400, 101), with_map=True).layers[0]

    assert whole.values == parts.values == 1001
    for name in ("low", "high", "unknown", "active", "map"):
        assert torch.equal(getattr(whole, name), getattr(parts, name))


def test_the_map_has_a_row_per_unit_and_a_column_per_example():
    network, x = scaled([1.0, 10.0], nn.Tanh()), torch.tensor([[-3.0], [0.01], [3.0]]).double()

    found = saturation_of(network, blocks_of(x), with_map=True).layers[0]

    assert found.map.tolist() == [[1, 0, 1], [1, 0, 1]]
    assert saturation_of(network, blocks_of(x)).layers[0].map is None


def test_a_unit_of_a_convolution_is_a_channel_with_all_its_positions():
    x = torch.tensor([[-1.0, 1, 1, 1], [-1, -1, -1, 1]]).double().view(2, 1, 2, 2)
    x = torch.cat([x, -torch.ones_like(x)], 1)

    found = saturation_of(nn.Sequential(nn.ReLU()), blocks_of(x), with_map=True).layers[0]

    assert found.values == 8
    assert found.share.tolist() == [0.5, 1]
    assert found.map.tolist() == [[0.25, 0.75], [1, 1]]
    assert found.flat_units.tolist() == [False, True]


def test_flat_on_every_row_may_be_on_one_side_or_on_either():
    x = torch.tensor([[9.0, 9, 9], [9, -9, 0]])

    found = saturation_of(nn.Sequential(nn.Tanh()), blocks_of(x)).layers[0]

    assert found.flat_units.tolist() == [True, True, False]
    assert found.one_sided_units.tolist() == [True, False, False]


def test_the_rule_calls_a_unit_inactive_below_one_percent():
    x = -torch.ones(200, 3)
    x[0, 1] = x[:2, 2] = 1  # active on 0, 1 and 2 of 200 rows

    found = saturation_of(nn.Sequential(nn.ReLU()), blocks_of(x)).layers[0]

    assert found.inactive_share == pytest.approx(2 / 3)
    assert saturation_of(nn.Sequential(nn.GELU()), blocks_of(x)).layers[0].inactive_share is None


def test_a_unit_with_a_nan_has_no_share():
    x = torch.tensor([[9.0, 9], [math.nan, 9]])

    found = saturation_of(nn.Sequential(nn.Tanh()), blocks_of(x))

    assert math.isnan(found.layers[0].share[0])
    assert found.layers[0].share[1] == 1
    assert math.isnan(found.saturated)


def test_a_network_without_activations_has_no_share(make_network, make_blocks):
    assert math.isnan(
        saturation_of(make_network([{"kind": "linear"}]), make_blocks((4,), [9])).saturated
    )


RELUS = {"kind": "mlp", "hidden": [6, 5], "activation": "relu"}


def with_dead_units(at):
    """A third unit that is 0 on every row, and a fourth whose output nobody reads."""
    with torch.no_grad():
        at.network[0].bias[2] = -1000
        at.network[2].weight[:, 3] = 0
    return at


def test_a_probe_tells_saturated_flat_dead_and_inactive_apart(make_moment):
    at, setting = make_moment(RELUS, 300)

    read = probe(ASKED, setting).look(with_dead_units(at))

    first = read.data["layers"][0]
    assert first["flat_units"] == 1
    assert first["dead_units"] == 2
    assert first["share"][2] == 1
    assert first["share"][3] < 1
    assert first["loss_change"][2] == first["loss_change"][3] == 0
    assert first["rule"] == {"inactive_share": pytest.approx(1 / 6, abs=1e-6), "fires": False}
    assert read.values["saturation.flat_units.1"] == pytest.approx(1 / 6)
    assert read.values["saturation.dead_units.1"] == pytest.approx(2 / 6)
    assert read.values["saturation.inactive_units.1"] == pytest.approx(1 / 6)
    assert read.data["rows"] == 300
    assert read.data["screened_rows"] == 256


def test_a_probe_counts_no_units_of_which_one_cannot_be_said(make_moment):
    """The first unit is NaN, and with it the second layer and the loss."""
    at, setting = make_moment(RELUS, 300)
    with torch.no_grad():
        at.network[0].bias[0] = math.nan

    for told in probe(ASKED, setting).look(at).data["layers"]:
        assert told["flat_units"] is told["one_sided_units"] is told["dead_units"] is None
        assert told["rule"] == {"inactive_share": None, "fires": None}


def test_the_map_is_kept_at_the_start_and_the_end_alone(make_moment):
    at, setting = make_moment(RELUS, 300)
    measure = probe(ASKED, setting)
    steps = setting.checked.steps

    maps = {
        step: measure.look(at.__class__(**{**vars(at), "step": step})).data["layers"][0]["map"]
        for step in (0, 1, steps - 1, steps)
    }

    assert maps[1] is maps[steps - 1] is None
    assert maps[0] == maps[steps]
    assert maps[0]["units"] == list(range(6))
    expected = saturation_of(
        at.network, [Block(at.rows[0].inputs[:32], at.rows[0].targets[:32])], with_map=True
    )
    assert maps[0]["flat_percent"] == (100 * expected.layers[0].map).int().tolist()


def test_a_probe_costs_a_pass_of_the_rows_and_a_gradient_of_some(make_checked):
    assert passes(ASKED, make_checked(RELUS, rows=100_000)) == 2000 + 3 * 256
    few = make_checked(RELUS, rows=100)
    assert passes(ASKED, few) == 4 * few.rows.train < 400
