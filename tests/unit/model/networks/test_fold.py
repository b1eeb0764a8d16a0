"""A folded network answers as the network it was made of, or is refused with both errors."""

from math import log10
from random import Random

import pytest
import torch
from torch import Tensor, nn

from model.errors import FoldRefused
from model.networks.build import build
from model.networks.comparison import checked, compare
from model.networks.fold import InLayer, Stayed, fold
from model.networks.init import initialize
from model.norms.batch import BatchNorm
from model.plan import plan
from model.spec import Init

ACTIVATIONS = ("tanh", "relu", "sigmoid", "gelu", "silu", "elu", "leaky_relu")
NORM = {"kind": "norm"}
LINEAR = {"kind": "linear"}
FLATTEN = {"kind": "flatten"}


def conv(channels: int, **fields):
    return {"kind": "conv2d", "out_channels": channels, **fields}


@pytest.fixture(scope="module")
def made(make_spec, make_facts):
    """A network whose norms hold drawn statistics, gains and biases, in eval mode, and rows."""

    def make(network, norm="batch", shape=(12,), variances=(0.1, 10), seed=0, double=False):
        planned = plan(make_spec(network, norm=norm), make_facts(shape, 5))
        dtype = torch.float64 if double else torch.float32
        built = build(planned, dtype=dtype)
        generator = torch.Generator().manual_seed(seed)
        initialize(built, planned, Init(bias="normal"), generator)
        for module in built.modules():
            if isinstance(module, BatchNorm):
                _fill(module, variances, generator)
        rows = torch.randn(64, *shape, dtype=torch.float64, generator=generator)
        return built.eval(), rows.to(dtype)

    return make


@torch.no_grad()
def _fill(norm: BatchNorm, variances, generator: torch.Generator) -> None:
    low, high = (log10(bound) for bound in variances)
    exponents = torch.rand(norm.num_features, generator=generator, dtype=torch.float64)
    spread = 10 ** (low + (high - low) * exponents)
    if norm.convention.running == "deviation":
        spread = spread.sqrt()
    norm.running_spread.copy_(spread)
    norm.running_mean.copy_(torch.randn(norm.num_features, generator=generator))
    if norm.weight is not None and norm.bias is not None:
        norm.weight.copy_(1 + torch.rand(norm.num_features, generator=generator))
        norm.bias.copy_(torch.randn(norm.num_features, generator=generator))


def random_case(seed: int):
    """A network of 1 to 5 normed layers, dense or convolutional, plain or residual, any norm."""
    draw = Random(seed)
    bias = draw.random() < 0.5
    activation = {"kind": "activation", "activation": draw.choice(ACTIVATIONS)}
    is_image = draw.random() < 0.3
    layer = conv(6, padding=1, bias=bias) if is_image else {**LINEAR, "out_features": 16}
    block = [{**layer, "bias": bias}, NORM, activation]
    residual = {"kind": "residual", "layers": block, "projection": True}
    count = draw.randint(1, 5)
    inside = [part for _ in range(count) for part in draw.choice([block, [residual]])]
    norm = {
        "kind": "batch",
        "affine": draw.random() < 0.7,
        "running": draw.choice(["variance", "deviation"]),
        "eps": draw.choice([0, 1e-5, 1e-3]),
    }
    return [*inside, FLATTEN, LINEAR], norm, (3, 6, 6) if is_image else (12,)


def by_hand(network: nn.Module, x: Tensor) -> Tensor:
    """The network in float64 with every batch norm written out."""
    x = x.double()
    for module in network:
        if isinstance(module, BatchNorm):
            spread, eps = module.running_spread.double(), module.convention.eps
            deviation = module.convention.running == "deviation"
            divisor = spread + eps if deviation else (spread + eps).sqrt()
            x = (x - module.running_mean.double()) / divisor
            if module.weight is not None:
                x = x * module.weight.double() + module.bias.double()
        elif isinstance(module, nn.Linear):
            x = x @ module.weight.double().T
            x = x if module.bias is None else x + module.bias.double()
        else:
            x = module(x)
    return x


@pytest.mark.parametrize("double", [False, True])
def test_200_folded_networks_stay_within_the_promise(made, double: bool) -> None:
    promise = 1e-12 if double else 1e-5
    for seed in range(200):
        layers, norm, shape = random_case(seed)
        network, rows = made(layers, norm, shape, seed=seed, double=double)
        folded = fold(network, shape)
        assert not any(isinstance(module, BatchNorm) for module in folded.network.modules())
        assert folded.in_layers
        with torch.no_grad():
            expected, got = network(rows).double(), folded.network(rows).double()
        assert (got - expected).abs().max() <= promise * expected.abs().max(), (seed, layers, norm)


def test_with_tiny_variances_a_fold_is_as_near_to_float64_as_the_rule_wants(made) -> None:
    for seed in range(200):
        layers, norm, shape = random_case(seed)
        network, rows = made(layers, norm, shape, variances=(1e-8, 10), seed=seed)
        folded = fold(network, shape).network
        with torch.no_grad():
            as_trained, as_folded = network(rows).double(), folded(rows).double()
            exact = network.double()(rows.double())
            network.float()
        largest = exact.abs().max()
        errors = [float((one - exact).abs().max() / largest) for one in (as_folded, as_trained)]
        comparison = compare(folded, network, rows)
        assert [comparison.error, comparison.unfolded_error] == pytest.approx(errors, rel=1e-6)
        assert errors[0] <= 1e-5 + 20 * errors[1]
        assert comparison.is_close


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("eps", [0, 1e-3])
@pytest.mark.parametrize("running", ["variance", "deviation"])
@pytest.mark.parametrize("bias", [True, False])
def test_every_convention_is_folded_by_its_own_formula(
    made, affine: bool, eps: float, running: str, bias: bool
) -> None:
    norm = {"kind": "batch", "affine": affine, "eps": eps, "running": running}
    mlp = {"kind": "mlp", "hidden": [9, 7], "bias": bias}
    network, rows = made(mlp, norm, double=True)
    folded = fold(network, (12,))
    torch.testing.assert_close(
        folded.network(rows), by_hand(network, rows).detach(), rtol=1e-12, atol=1e-12
    )
    assert folded.in_layers == (InLayer("1", "0"), InLayer("4", "3"))
    assert folded.stayed == ()


def test_a_folded_state_dict_loads_strictly_into_layers_written_by_hand(made) -> None:
    network, rows = made({"kind": "mlp", "hidden": [9], "bias": False})
    folded = fold(network, (12,)).network
    plain = nn.Sequential(nn.Linear(12, 9), nn.Identity(), nn.Tanh(), nn.Linear(9, 5))
    plain.load_state_dict(folded.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(plain(rows), folded(rows))


def test_it_is_rounded_once_from_float64(made) -> None:
    network, _ = made({"kind": "mlp", "hidden": [9]})
    norm = network[1]
    divisor = (norm.running_var.double() + norm.eps).sqrt()
    weight = norm.weight.double()[:, None] / divisor[:, None] * network[0].weight.double()
    folded = fold(network, (12,)).network
    assert folded[0].weight.dtype == torch.float32
    assert torch.equal(folded[0].weight, weight.float())


def test_the_given_network_keeps_every_bit_its_mode_and_its_gradients(made) -> None:
    network, rows = made([conv(4), NORM, FLATTEN, LINEAR], shape=(3, 6, 6))
    network.train()
    network[0].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    random_state = torch.get_rng_state()
    checked(fold(network, (3, 6, 6)).network, network, rows)
    assert [module.training for module in network.modules()] == modes
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert torch.equal(torch.get_rng_state(), random_state)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_norms_behind_anything_else_stay_and_are_named_in_network_order(made) -> None:
    branch = [NORM, conv(3, padding=1), NORM, {"kind": "activation", "activation": "relu"}]
    layers = [
        NORM,
        conv(3),
        NORM,
        NORM,
        {"kind": "residual", "layers": branch},
        NORM,
        {"kind": "pool"},
        NORM,
        FLATTEN,
        LINEAR,
    ]
    network, rows = made(layers, shape=(2, 8, 8))
    folded = fold(network, (2, 8, 8))
    assert folded.in_layers == (InLayer("2", "1"), InLayer("4.branch.2", "4.branch.1"))
    assert folded.stayed == (
        Stayed("0", "the input"),
        Stayed("3", "BatchNorm (2)"),
        Stayed("4.branch.0", "the input"),
        Stayed("5", "Residual (4)"),
        Stayed("7", "MaxPool2d (6)"),
    )
    assert checked(folded.network, network, rows).error < 1e-5
    assert not any(module.training for module in folded.network.modules())


def test_every_norm_of_a_residual_network_is_folded_short_cuts_included(made) -> None:
    network, rows = made({"kind": "resnet", "depth": 18, "width": 4}, shape=(3, 32, 32))
    folded = fold(network, (3, 32, 32))
    norms = [name for name, module in network.named_modules() if isinstance(module, BatchNorm)]
    assert [one.norm for one in folded.in_layers] == norms
    assert sum(".projection." in name for name in norms) == 3
    assert folded.stayed == ()
    assert checked(folded.network, network, rows).error < 1e-5


def test_a_linear_layer_over_another_axis_than_the_norms_keeps_its_norm(made) -> None:
    network, rows = made([{**LINEAR, "out_features": 4}, NORM, FLATTEN, LINEAR], shape=(4, 6))
    folded = fold(network, (4, 6))
    assert folded.in_layers == ()
    assert folded.stayed == (Stayed("1", "Linear over another axis (0)"),)
    assert checked(folded.network, network, rows).difference == 0


@pytest.mark.parametrize("spread", [0.0, -1.0, float("nan")])
def test_a_spread_that_cannot_divide_is_refused_by_layer(made, spread: float) -> None:
    network, _ = made({"kind": "mlp", "hidden": [9]}, {"kind": "batch", "eps": 0})
    network[1].running_var[3] = spread
    with pytest.raises(FoldRefused, match="norm 1 has a channel whose scale or shift") as refusal:
        fold(network, (12,))
    assert refusal.value.metadata == {"norm": "1"}


def test_logits_that_are_not_finite_are_never_close(made) -> None:
    network, rows = made({"kind": "mlp", "hidden": [9]})
    folded = fold(network, (12,)).network
    rows[3, 2] = float("nan")
    with pytest.raises(FoldRefused, match="not finite cannot be compared"):
        compare(folded, network, rows)


def test_a_forgotten_shift_is_refused_with_both_errors(made) -> None:
    network, rows = made({"kind": "mlp", "hidden": [9]})
    folded = fold(network, (12,)).network
    folded[0].bias.copy_(network[0].bias.detach())
    with pytest.raises(FoldRefused, match=r"are off by .* of the largest logit") as refusal:
        checked(folded, network, rows)
    numbers = refusal.value.metadata
    assert numbers["error"] > 0.01
    assert numbers["allowed"] == 1e-5 + 20 * numbers["unfolded_error"]
    assert numbers["rows"] == 64
    assert f"{numbers['error']:.3g}" in refusal.value.message
    assert f"{numbers['unfolded_error']:.3g}" in refusal.value.message


def test_a_fold_that_loses_what_the_network_as_trained_keeps_is_refused(made) -> None:
    norm = {"kind": "batch", "running": "deviation"}
    network, rows = made({"kind": "mlp", "hidden": [9]}, norm)
    rows = 10_000 + (rows * 3).round()
    # Whole numbers below 2**24: the centered sum is exact, until the fold makes fractions of them.
    with torch.no_grad():
        network[0].weight.fill_(97)
        network[0].bias.zero_()
        network[1].running_mean.fill_(97 * 12 * 10_000)
        network[1].running_deviation.fill_(1000)
    with pytest.raises(FoldRefused) as refusal:
        checked(fold(network, (12,)).network, network, rows)
    numbers = refusal.value.metadata
    assert numbers["unfolded_error"] < 1e-6
    assert numbers["error"] > 1e-5 + 20 * numbers["unfolded_error"]
