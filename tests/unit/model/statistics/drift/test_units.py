"""A folded network is watched in the units of the network that it was folded from."""

import math

import pytest
import torch
from torch import nn

from model.errors import FoldRefused
from model.networks.fold import fold
from model.norms.batch import BatchNorm
from model.statistics.drift.monitor import Monitor
from model.statistics.drift.probe import Probe
from model.statistics.drift.reference import running
from model.statistics.drift.state import DriftState
from model.statistics.drift.thresholds import Thresholds
from model.statistics.drift.units import MOST_HIDDEN, refuse_hidden

NORM = {"kind": "norm"}
CONV = {"kind": "conv2d", "out_channels": 4, "padding": 1}
STAYING = [NORM, CONV, NORM, NORM, {"kind": "flatten"}, {"kind": "linear"}]


@torch.no_grad()
def with_gains(network: nn.Module) -> nn.Module:
    """Gains of both signs, and biases beside them."""
    generator = torch.Generator().manual_seed(11)
    for module in network.modules():
        if isinstance(module, BatchNorm) and module.weight is not None:
            draw = torch.randn(2, module.num_features, generator=generator)
            module.weight.copy_(draw[0].sign() * (0.2 + draw[0].abs()))
            module.bias.copy_(draw[1])
    return network


def state_of(answering: nn.Module, network: nn.Module, rows: torch.Tensor) -> DriftState:
    """What a monitor says of 128 rows that came in requests of 8."""
    references = running(network)
    names = tuple(one.name for one in references)
    limits = Thresholds(1024, names, {128: (0.5,) * len(names)})
    drift = Monitor(references, limits, 3, math.inf)
    probe = Probe(answering, network)
    with torch.inference_mode():
        for block in rows.split(8):
            with drift.watching(probe, 8):
                answering(block)
    return drift.state()


def assert_same(state: DriftState, expected: DriftState, near: float) -> None:
    assert state.state == expected.state
    assert state.alarm == pytest.approx(expected.alarm, rel=near)
    assert state.predicted_classes == expected.predicted_classes
    for one, other in zip(state.layers, expected.layers, strict=True):
        assert (one.layer, one.threshold) == (other.layer, other.threshold)
        assert one.score == pytest.approx(other.score, rel=near)
        for channel, same in zip(one.top, other.top, strict=True):
            assert channel.channel == same.channel
            assert channel.score == pytest.approx(same.score, rel=near)
            assert channel.offset == pytest.approx(same.offset, rel=near, abs=1e-6)
            assert channel.z == pytest.approx(same.z, rel=near, abs=1e-5)
            assert channel.variance_ratio == pytest.approx(same.variance_ratio, rel=near)


ROW, IMAGE = (6,), (3, 20, 20)
CASES = {
    "before activation": (ROW, None, {}),
    "after activation": (ROW, None, {"norm": {"kind": "batch", "placement": "after_activation"}}),
    "without affine": (ROW, None, {"norm": {"kind": "batch", "affine": False}}),
    "deviation": (ROW, None, {"norm": {"kind": "batch", "running": "deviation"}}),
    "large eps": (ROW, None, {"norm": {"kind": "batch", "eps": 0.5}}),
    "residual": (IMAGE, None, {}),
    "resnet": (IMAGE, {"kind": "resnet", "depth": 18, "width": 4}, {}),
    "some stay": (IMAGE, STAYING, {}),
}


@pytest.fixture(scope="module", params=CASES)
def trained(request, make_network, image_layers):
    """A network with gains of both signs, the same folded, and rows."""
    shape, layers, fields = CASES[request.param]
    layers = image_layers if shape == IMAGE and layers is None else layers
    network = with_gains(make_network(shape, layers, **fields))
    folded = fold(network, shape)
    assert bool(folded.in_layers) == (request.param != "after activation")
    rows = torch.randn(128, *shape, generator=torch.Generator().manual_seed(1))
    return network, folded, rows


@pytest.mark.parametrize("moved", [0.0, 0.3, -2.0])
def test_a_folded_network_drifts_as_the_network_as_trained(trained, moved: float) -> None:
    network, folded, rows = trained
    refuse_hidden(folded, network, running(network))
    expected = state_of(network, network, rows + moved)
    state = state_of(folded.network, network, rows + moved)
    assert_same(state, expected, 1e-3)


@pytest.mark.parametrize(("gain", "bias"), [(0.0, 0.0), (0.0, 1.0), (1e-6, 1.0), (-1e-40, 0.0)])
def test_a_fold_that_hides_what_enters_a_norm_is_refused_by_channel(
    make_network, gain: float, bias: float
) -> None:
    network = with_gains(make_network())
    with torch.no_grad():
        network[4].weight[5], network[4].bias[5] = gain, bias
    folded = fold(network, ROW)
    with pytest.raises(FoldRefused, match="norm 4: the gain of channel 5 is 0 or so") as refusal:
        refuse_hidden(folded, network, running(network))
    assert refusal.value.metadata == {"norm": "4", "channel": 5}


@pytest.mark.parametrize(("share", "bias"), [(1.02, 1.0), (1.02, -30.0), (1e4, 1.0)])
def test_small_gains_that_are_not_refused_hide_nothing(make_network, share, bias) -> None:
    network = with_gains(make_network())
    # Of a standard deviation, this gain hides about MOST_HIDDEN / share.
    gain = -share * abs(bias) * torch.finfo(torch.float32).eps / MOST_HIDDEN
    with torch.no_grad():
        network[1].weight.fill_(gain)
        network[1].bias.fill_(bias)
    folded = fold(network, ROW)
    refuse_hidden(folded, network, running(network))
    rows = torch.randn(128, 6, generator=torch.Generator().manual_seed(1)) + 0.3
    state, expected = (state_of(one, network, rows) for one in (folded.network, network))
    assert_same(state, expected, 1e-3)
