import pytest
import torch

from model.networks.build import build
from model.networks.init import initialize
from model.plan import plan
from model.spec import Init

FAN_IN, FAN_OUT = 400, 100


@pytest.fixture
def start(make_spec, make_facts):
    """State dict of a spec's network after initialization."""

    def run(network, init=None, shape=(FAN_IN,), dtype=torch.float64, **fields):
        planned = plan(make_spec(network, **fields), make_facts(shape))
        built = build(planned, dtype=dtype)
        chosen = Init.model_validate(init or {})
        initialize(built, planned, chosen, torch.Generator().manual_seed(7))
        return built.state_dict()

    return run


WIDE = {"kind": "mlp", "hidden": [FAN_OUT]}

VARIANCES = {
    "normal": 1.0,
    "xavier_normal": 2 / (FAN_IN + FAN_OUT),
    "xavier_uniform": 2 / (FAN_IN + FAN_OUT),
    "kaiming_normal": 2 / FAN_IN,
    "kaiming_uniform": 2 / FAN_IN,
}


@pytest.mark.parametrize(("kind", "variance"), VARIANCES.items())
@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_weights_have_the_variance_of_their_kind(start, kind, variance, gain):
    weight = start(WIDE, {"kind": kind, "gain": gain})["0.weight"]

    # 40,000 draws: the standard error of the variance is under 0.71 % of it.
    assert weight.var().item() == pytest.approx(gain**2 * variance, rel=0.03)
    assert abs(weight.mean().item()) < 4 * gain * (variance / weight.numel()) ** 0.5
    if kind.endswith("uniform"):
        bound = gain * (3 * variance) ** 0.5
        assert 0.99 * bound < weight.abs().max().item() <= bound


def test_a_convolution_counts_its_window_in_both_fans(start):
    layers = [
        {"kind": "conv2d", "out_channels": 40, "kernel_size": 5},
        {"kind": "flatten"},
        {"kind": "linear"},
    ]

    weight = start(layers, {"kind": "xavier_normal"}, shape=(20, 6, 6))["0.weight"]

    assert weight.var().item() == pytest.approx(2 / (25 * (20 + 40)), rel=0.05)


def test_biases_start_at_zero_or_are_drawn(start):
    wide = {"kind": "mlp", "hidden": [10_000]}

    assert start(wide)["0.bias"].abs().max() == 0
    assert start(wide, {"bias": "normal"})["0.bias"].var().item() == pytest.approx(1, rel=0.06)
    drawn = start(wide, {"bias": "torch"})["0.bias"]
    assert drawn.var().item() == pytest.approx(1 / (3 * FAN_IN), rel=0.06)
    assert drawn.abs().max() <= 1 / FAN_IN**0.5


def test_the_output_layer_may_start_by_itself(start):
    output = {"kind": "normal", "gain": 0.0, "bias": "normal"}

    state = start(WIDE, {"kind": "xavier_normal", "output": output})

    assert state["2.weight"].abs().max() == 0
    assert state["2.bias"].abs().min() > 0
    assert state["0.weight"].abs().max() > 0
    assert state["0.bias"].abs().max() == 0


@pytest.mark.parametrize("norm", ["batch", "layer", "group"])
@pytest.mark.parametrize("placement", ["before_activation", "after_activation"])
def test_arms_with_and_without_norm_start_with_equal_weights(start, norm, placement):
    network = {"kind": "mlp", "hidden": [20, 30]}
    init = {"bias": "torch"}

    without = start(network, init)
    normed = start(network, init, norm={"kind": norm, "placement": placement})

    drawn = [name for name, tensor in without.items() if tensor.abs().max() > 0]
    plain = [normed[f"{layer}.{kind}"] for layer in (0, 3, 6) for kind in ("weight", "bias")]
    assert len(drawn) == 6
    assert all(torch.equal(without[a], b) for a, b in zip(drawn, plain, strict=True))


def test_a_float32_start_is_the_float64_start_rounded(start):
    wide, narrow = start(WIDE), start(WIDE, dtype=torch.float32)

    assert torch.equal(wide["0.weight"].float(), narrow["0.weight"])
