import copy

import pytest
import torch

from model.networks.build import build
from model.norms.batch import BatchNorm
from model.plan import plan
from model.statistics.population import ema, pooled, precise

ROWS = 403  # a short last batch, of 1, 3 or 19 rows
SIZES = [2, 8, 32, 200, ROWS]
CONV = {"kind": "conv2d", "out_channels": 6, "padding": 1}
WIDE = {**CONV, "out_channels": 8}
NORM, RELU, POOL, FLAT = ({"kind": kind} for kind in ("norm", "activation", "pool", "flatten"))
MEAN = {"kind": "pool", "pool": "global_avg"}
OUT = {"kind": "linear"}


def residual(*layers, projection=False):
    return {"kind": "residual", "layers": list(layers), "projection": projection}


NETWORKS = {
    "mlp": ((20,), {"kind": "mlp", "hidden": [30, 20, 10]}),
    "vgg": (
        (2, 8, 8),
        [
            *(CONV, NORM, RELU, CONV, NORM, RELU, POOL),
            *(CONV, NORM, RELU, POOL, FLAT),
            *({"kind": "linear", "out_features": 12}, NORM, RELU, {"kind": "dropout"}, OUT),
        ],
    ),
    "residual": (
        (2, 8, 8),
        [
            *(CONV, NORM, RELU),
            residual(CONV, NORM, RELU, CONV, NORM),
            RELU,
            residual(WIDE, NORM, RELU, residual(NORM, RELU), projection=True),
            *(RELU, NORM, MEAN, FLAT, OUT),
        ],
    ),
}
CONVENTIONS = {"variance": {}, "deviation": {"running": "deviation", "eps": 1e-5}}


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def make_network(make_spec, make_facts):
    """A network with stale statistics, random weights, gains and biases, and rows for it."""

    def make(kind, dtype=torch.float32, **convention):
        shape, layers = NETWORKS[kind]
        spec = make_spec(layers, norm={"kind": "batch", **convention})
        network = build(plan(spec, make_facts(shape, outputs=3)), dtype=dtype)
        for index, (name, tensor) in enumerate(network.state_dict().items()):
            noise = draw(*tensor.shape, seed=index)
            if tensor.dim() > 1:
                tensor.copy_(noise / tensor[0].numel() ** 0.5)
            elif "running" in name:
                tensor.copy_(noise.square() + 0.5)
            elif tensor.dim() == 1:
                tensor.copy_(1 + 0.3 * noise)
        rows = (2 * draw(ROWS, *shape, seed=99) + 1).to(dtype)
        return network.requires_grad_(False), rows

    return make


def norms_of(network):
    return {name: m for name, m in network.named_modules() if isinstance(m, BatchNorm)}


def inputs_of(network, rows):
    """What enters every norm, by name."""
    inputs = {}
    handles = [
        layer.register_forward_pre_hook(lambda _, args, name=name: inputs.update({name: args[0]}))
        for name, layer in norms_of(network).items()
    ]
    network(rows)
    for handle in handles:
        handle.remove()
    return {name: x.transpose(0, 1).flatten(1).clone() for name, x in inputs.items()}


def by_definition(network, rows):
    """Layer by layer in float64, all rows at once, each layer's new values used at once."""
    wide, rows = copy.deepcopy(network).double().eval(), rows.double()
    found = {}
    for name, layer in norms_of(wide).items():
        x = inputs_of(wide, rows)[name]
        mean, variance = x.mean(1), x.var(1, correction=1)
        layer.running_mean.copy_(mean)
        deviates = layer.convention.running == "deviation"
        layer.running_spread.copy_(variance.sqrt() if deviates else variance)
        found[name] = (mean, variance)
    return found


def error(found, expected):
    """Largest error of any channel: of a mean in deviations, of a variance relative."""
    assert set(found) == set(expected)
    errors = [
        max(
            ((found[name].mean - mean).abs() / variance.sqrt()).max().item(),
            (found[name].variance / variance - 1).abs().max().item(),
        )
        for name, (mean, variance) in expected.items()
    ]
    return max(errors)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_precise_is_its_definition_at_every_batch_size(make_network, kind, convention, size):
    network, rows = make_network(kind, **convention)

    found = precise(network, rows.split(size))

    assert error(found, by_definition(network, rows)) < 1e-6


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_float64_network_gets_float64_statistics(make_network, kind):
    network, rows = make_network(kind, torch.float64)

    assert error(precise(network, rows.split(32)), by_definition(network, rows)) < 1e-12


def by_formula(network, batches):
    """The one-pass estimate as its formula stands, over batches of batch statistics."""
    wide = copy.deepcopy(network).double().train()
    for module in wide.modules():
        module.training = isinstance(module, BatchNorm)
    sums = {}
    for batch in batches:
        for name, x in inputs_of(wide, batch.double()).items():
            n, mean, square = sums.get(name, (0, 0, 0))
            here = x.shape[1]
            biased = x.var(1, correction=0)
            sums[name] = (
                n + here,
                mean + here * x.mean(1),
                square + here * (x.mean(1).square() + biased),
            )
    return {
        name: (mean / n, (square / n - (mean / n).square()) * n / (n - 1))
        for name, (n, mean, square) in sums.items()
    }


@pytest.mark.parametrize("size", [3, 8, 32, 200, ROWS])
@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_pooled_is_its_formula(make_network, kind, convention, size):
    network, rows = make_network(kind, torch.float64, **convention)
    batches = rows.split(size)[:-1] or (rows,)

    assert error(pooled(network, batches), by_formula(network, batches)) < 1e-11


def test_pooled_depends_on_the_batch_size_behind_the_first_layer_alone(make_network):
    network, rows = make_network("mlp", torch.float64)
    rows = rows[:400]
    expected = by_definition(network, rows)

    found = pooled(network, rows.split(8))

    first, second = list(expected)[:2]
    assert error({first: found[first]}, {first: expected[first]}) < 1e-12
    assert error({second: found[second]}, {second: expected[second]}) > 0.05


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS)
@pytest.mark.parametrize("momentum", [0.3, 0.01, 1.0, None])
@pytest.mark.parametrize("kind", NETWORKS)
def test_ema_is_training_modes_average_without_the_share_of_its_start(
    make_network, kind, momentum, convention
):
    network, rows = make_network(kind, torch.float64, momentum=momentum, **convention)
    batches = rows[:400].split(32)
    trained = copy.deepcopy(network)
    for layer in norms_of(trained).values():
        layer.train()
        layer.running_mean.zero_()
        layer.running_spread.fill_(1)
    for batch in batches:
        trained(batch)
    left = 0.0 if momentum is None else (1 - momentum) ** len(batches)

    found = ema(network, batches, momentum)

    for name, layer in norms_of(trained).items():
        mean = layer.running_mean / (1 - left)
        spread = (layer.running_spread - left) / (1 - left)
        ours = found[name].deviation if convention else found[name].variance
        torch.testing.assert_close(found[name].mean, mean, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(ours, spread, rtol=1e-9, atol=0)


METHODS = {
    "precise": precise,
    "pooled": pooled,
    "ema": lambda network, batches: ema(network, batches, 0.1),
}


@pytest.mark.parametrize("is_training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_network_its_modes_and_all_random_states_stay_as_they_were(
    make_network, method, is_training
):
    network, rows = make_network("vgg")
    network.train(is_training)[0].eval()
    state = copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    hooks = [len(module._forward_pre_hooks) for module in network.modules()]
    random_state = torch.get_rng_state()

    method(network, rows[:400].split(32))

    assert torch.equal(torch.get_rng_state(), random_state)
    assert [module.training for module in network.modules()] == modes
    assert [len(module._forward_pre_hooks) for module in network.modules()] == hooks
    for name, tensor in network.state_dict().items():
        assert tensor.numpy().tobytes() == state[name].numpy().tobytes(), name


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_old_statistics_do_not_matter(make_network, method):
    network, rows = make_network("residual")
    fresh = copy.deepcopy(network)
    for layer in norms_of(fresh).values():
        layer.running_mean.fill_(7)
        layer.running_spread.fill_(0.01)
    batches = rows[:400].split(50)

    one, other = method(network, batches), method(fresh, batches)

    for name, found in one.items():
        assert torch.equal(found.mean, other[name].mean)
        assert torch.equal(found.variance, other[name].variance)


def test_precise_ends_each_pass_at_the_last_layer_it_asks_for(make_network):
    network, rows = make_network("mlp")
    passed = []
    network[-1].register_forward_hook(lambda *_: passed.append(1))

    precise(network, rows.split(32))

    assert len(passed) == 1  # the few rows that show how the layers hang together


def test_precise_of_a_single_row_without_positions_is_refused(make_network):
    network, rows = make_network("mlp")

    with pytest.raises(ValueError, match="a variance over n - 1 of 1 values"):
        precise(network, [rows[:1]])


def test_a_network_without_batch_norm_has_no_statistics(make_spec, make_facts):
    spec = make_spec({"kind": "mlp"}, norm="layer")
    network = build(plan(spec, make_facts()))

    assert precise(network, [torch.zeros(4, 64)]) == {}
    assert pooled(network, [torch.zeros(4, 64)]) == {}
