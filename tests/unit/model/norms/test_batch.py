import copy
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from model import spec
from model.errors import DeviationZero
from model.norms.batch import BatchNorm

SHAPES = {"rows": (16, 5), "sequences": (6, 5, 7), "images": (4, 5, 3, 2)}
TORCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}


def norm(channels=5, dtype=torch.float32, **convention):
    asked = spec.BatchNorm.model_validate({"kind": "batch", **convention})
    return BatchNorm(channels, asked, dtype=dtype)


def by_formula(layer):
    """The same layer, kept from torch's kernel."""
    layer._trains_in_kernel = layer._evaluates_in_kernel = False
    return layer


def draw(shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    wide = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (3 * wide + 2).to(dtype)


def randomize(*layers):
    """One random gain and bias for all of the layers."""
    for layer in layers:
        with torch.no_grad():
            layer.weight.copy_(draw(layer.weight.shape, 1))
            layer.bias.copy_(draw(layer.bias.shape, 2))


def step(layer, x):
    """Output and the gradients of x and the parameters, for one cotangent."""
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(draw(x.shape, 9, x.dtype))
    return [y.detach(), x.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("path", [lambda layer: layer, by_formula], ids=["kernel", "formula"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("momentum", [0.1, 0.01, None, 0.0, 1.0])
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_layer_equals_torch_forward_backward_and_in_its_running_values(
    path, shape, momentum, affine, dtype
):
    ours = path(norm(momentum=momentum, affine=affine, dtype=dtype))
    theirs = TORCH[len(shape)](5, momentum=momentum, affine=affine, dtype=dtype)
    if affine:
        randomize(ours, theirs)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {}

    for seed in range(3):
        x = draw(shape, seed, dtype)
        for mine, other in zip(step(ours, x), step(theirs, x), strict=True):
            torch.testing.assert_close(mine, other, **tolerance)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x), **tolerance)


CONVENTIONS = [
    {"running": running, "normalize": normalize, "eps": eps, "momentum": momentum}
    for running, normalize, eps, momentum in itertools.product(
        ["variance", "deviation"], ["biased", "unbiased"], [0.0, 1e-5, 0.5], [0.1, None, 0.0, 1.0]
    )
]


class Transcript:
    """The formulas of docs/norms.md, value by value, in float64."""

    def __init__(self, running, normalize, eps, momentum):
        self.running, self.normalize, self.eps, self.momentum = running, normalize, eps, momentum
        self.mean, self.spread, self.batches = torch.zeros(5), torch.ones(5), 0

    def __call__(self, x):
        values = x.transpose(0, 1).flatten(1)
        n = values.shape[1]
        mean = values.sum(1) / n
        squares = (values - mean[:, None]).square().sum(1)
        self.batches += 1
        share = 1 / self.batches if self.momentum is None else self.momentum
        stored = squares / (n - 1)
        stored = stored.sqrt() if self.running == "deviation" else stored
        self.mean = (1 - share) * self.mean + share * mean.detach()
        self.spread = (1 - share) * self.spread + share * stored.detach()
        var = squares / (n if self.normalize == "biased" else n - 1)
        return self.divided(x, mean, var.sqrt() if self.running == "deviation" else var)

    def divided(self, x, mean, spread):
        along = (1, 5, *[1] * (x.dim() - 2))
        divisor = spread + self.eps if self.running == "deviation" else (spread + self.eps).sqrt()
        return (x - mean.view(along)) / divisor.view(along)


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda c: "-".join(map(str, c.values())))
def test_every_convention_equals_its_formulas(convention):
    layer = norm(affine=False, dtype=torch.float64, **convention)
    formulas = Transcript(**convention)

    for seed in range(3):
        x = draw(SHAPES["images"], seed, torch.float64)
        expected = x.clone().requires_grad_()
        y = formulas(expected)
        y.backward(draw(x.shape, 9, x.dtype))
        output, gradient = step(layer, x)
        torch.testing.assert_close(output, y.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradient, expected.grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(layer.running_mean, formulas.mean.double())
    torch.testing.assert_close(layer.running_spread, formulas.spread.double())
    answer = formulas.divided(x, layer.running_mean, layer.running_spread)
    torch.testing.assert_close(layer.eval()(x), answer, rtol=1e-12, atol=1e-12)


def test_a_channel_leaves_with_mean_0_and_variance_var_over_var_plus_eps():
    x = draw(SHAPES["images"], dtype=torch.float64)

    y = norm(eps=0.5, dtype=torch.float64)(x)

    var = x.var((0, 2, 3), correction=0)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(5).double())
    torch.testing.assert_close(y.var((0, 2, 3), correction=0), var / (var + 0.5))


@pytest.mark.parametrize("running", ["variance", "deviation"])
def test_evaluation_moves_nothing(running):
    layer = norm(running=running)
    layer(draw(SHAPES["rows"]))
    before = {name: value.clone() for name, value in layer.state_dict().items()}

    layer.eval()
    for seed in range(5):
        layer(draw(SHAPES["rows"], seed))

    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda c: "-".join(map(str, c.values())))
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_by_batch_gives_the_bits_of_training_mode_and_moves_nothing(
    convention, shape, affine, dtype
):
    layer = norm(affine=affine, dtype=dtype, **convention)
    if affine:
        randomize(layer)
    layer(draw(shape, dtype=dtype))
    training = copy.deepcopy(layer).train()
    layer.eval().by_batch = True
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    x = draw(shape, 1, dtype)

    assert torch.equal(layer(x), training(x))
    with torch.inference_mode():
        assert torch.equal(layer(x), training(x))

    assert all(torch.equal(layer.state_dict()[name], before[name]) for name in before)
    layer.by_batch = False
    assert not torch.equal(layer(x), training(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_by_batch_sums_half_precision_as_training_does(dtype, affine):
    layer = norm(affine=affine)
    training = copy.deepcopy(layer).train()
    layer.eval().by_batch = True
    x = draw((64, 5), 1).to(dtype)

    assert torch.equal(layer(x), training(x))


def test_by_batch_does_not_see_broken_running_values():
    layer = norm()
    training = copy.deepcopy(layer)
    layer.running_mean.fill_(torch.nan)
    layer.running_var.fill_(-1)
    layer.eval().by_batch = True
    x = draw(SHAPES["rows"])

    assert torch.equal(layer(x), training(x))
    assert layer.running_mean.isnan().all()


def test_by_batch_changes_nothing_in_training_mode():
    layer, plain = norm(), norm()
    layer.by_batch = True
    x = draw(SHAPES["rows"])

    assert torch.equal(layer(x), plain(x))
    torch.testing.assert_close(layer.state_dict(), plain.state_dict(), rtol=0, atol=0)


def test_by_batch_needs_two_values_and_a_deviation():
    layer = norm(running="deviation").eval()
    layer.by_batch = True

    message = r"^batch statistics need at least 2 values per channel, got 1 in input"
    with pytest.raises(ValueError, match=message):
        layer(torch.zeros(1, 5))
    with pytest.raises(DeviationZero):
        layer(torch.zeros(4, 5))


@pytest.mark.parametrize("running", ["variance", "deviation"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_row_gets_the_same_answer_alone_and_in_company(running, shape):
    layer = norm(running=running)
    layer(draw(shape))
    layer.eval()
    x = draw(shape, 1)

    company = layer(x)

    for row in range(len(x)):
        torch.testing.assert_close(layer(x[row : row + 1])[0], company[row])


def test_the_post_s_convention_has_no_eps():
    assert norm(running="deviation").eps == 0


def test_a_deviation_is_never_called_a_variance():
    names = set(norm(running="deviation").state_dict())

    assert names == {"weight", "bias", "running_mean", "running_deviation", "num_batches_tracked"}
    with pytest.raises(RuntimeError, match=r"Missing key.*running_var.*\s+Unexpected.*deviation"):
        nn.BatchNorm1d(5).load_state_dict(norm(running="deviation").state_dict())


def test_state_travels_to_torch_and_back():
    ours, theirs = norm(), nn.BatchNorm1d(5)
    ours(draw(SHAPES["rows"]))

    theirs.load_state_dict(ours.state_dict(), strict=True)
    back = norm()
    back.load_state_dict(theirs.state_dict(), strict=True)

    x = draw(SHAPES["rows"], 1)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
    assert torch.equal(ours(x), back.eval()(x))


@pytest.mark.parametrize("name", ["running_mean", "running_var", "num_batches_tracked"])
def test_a_state_without_running_statistics_fails_by_name(name):
    state = {key: value for key, value in norm().state_dict().items() if key != name}

    with pytest.raises(RuntimeError, match=f'Missing key.*"{name}"'):
        norm().load_state_dict(state)


def test_a_layer_on_meta_takes_a_state_by_assignment():
    state = norm(running="deviation").state_dict()
    convention = spec.BatchNorm.model_validate({"kind": "batch", "running": "deviation"})
    layer = BatchNorm(5, convention, device="meta")

    layer.load_state_dict(state, strict=True, assign=True)

    assert {str(value.device) for value in layer.state_dict().values()} == {"cpu"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "convention", [{}, {"running": "deviation", "eps": 1e-5}, {"eps": 0.0}], ids=str
)
def test_half_precision_is_summed_in_float32_and_stays_finite(dtype, convention):
    x = (1000 * draw((64, 5))).to(dtype)  # its variance passes float16's largest number
    layer, wide = norm(**convention), norm(**convention)

    y, expected = layer(x), wide(x.float())

    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), expected, rtol=0.02, atol=0.02)
    torch.testing.assert_close(layer.running_spread, wide.running_spread, rtol=1e-3, atol=0)
    torch.testing.assert_close(
        layer.eval()(x).float(), wide.eval()(x.float()), rtol=0.02, atol=0.02
    )


def test_a_layer_of_half_precision_stays_finite():
    layer = norm(dtype=torch.bfloat16, running="deviation")

    y = layer((1000 * draw((64, 5))).bfloat16())

    assert torch.isfinite(y).all()
    assert torch.isfinite(layer.running_deviation).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 12345.678])
@pytest.mark.parametrize("running", ["variance", "deviation"])
def test_a_constant_channel_with_eps_0_stops_and_moves_nothing(value, running):
    layer = norm(running=running, eps=0.0)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    x = draw(SHAPES["rows"])
    x[:, 3] = value

    with pytest.raises(DeviationZero) as stopped:
        layer(x)

    assert stopped.value.reason == "BN_ZERO_DEVIATION"
    assert stopped.value.metadata == {"unit": "channel", "index": 3, "constant": 1}
    assert stopped.value.message == (
        "channel 3 is constant and eps is 0: there is no deviation to divide by"
    )
    assert all(torch.equal(layer.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize("convention", [{}, {"running": "deviation", "eps": 1e-3}], ids=str)
def test_a_constant_channel_with_an_eps_has_finite_gradients(convention):
    x = torch.ones(8, 5)

    assert all(torch.isfinite(value).all() for value in step(norm(**convention), x))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5,), r"^expected input of shape \(N, C\) or \(N, C, \*\), got \(5,\)$"),
        ((8, 4, 3), r"^expected 5 channels, got 4 in input of shape \(8, 4, 3\)$"),
        (
            (1, 5),
            r"^training mode needs at least 2 values per channel, "
            r"got 1 in input of shape \(1, 5\)$",
        ),
        (
            (0, 5),
            r"^training mode needs at least 2 values per channel, "
            r"got 0 in input of shape \(0, 5\)$",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("running", ["variance", "deviation"])
def test_what_cannot_be_normalized_is_refused_in_words(shape, message, running):
    with pytest.raises(ValueError, match=message):
        norm(running=running)(torch.zeros(shape))


def test_evaluation_takes_a_single_value():
    assert norm().eval()(torch.zeros(1, 5)).shape == (1, 5)


def test_building_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()

    norm(), norm(running="deviation", affine=False)

    assert torch.equal(torch.get_rng_state(), before)


def test_printing_names_the_convention():
    assert repr(norm(momentum=None)) == (
        "BatchNorm(5, momentum=None, eps=1e-05, affine=True, running=variance, normalize=biased)"
    )


RECOMPUTED = {
    "kernel": {},
    "cumulative": {"momentum": None},
    "deviation": {"running": "deviation"},
    "unbiased": {"normalize": "unbiased"},
    "cumulative deviation": {"running": "deviation", "momentum": None},
}


@pytest.mark.parametrize("convention", RECOMPUTED.values(), ids=RECOMPUTED)
@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "not reentrant"])
def test_a_batch_whose_activations_are_computed_again_is_counted_once(
    reentrant, nested, convention
):
    """One step with and without `torch.utils.checkpoint`: every bit is the same."""
    kept, recomputed = (norm(**convention) for _ in range(2))
    randomize(kept)
    recomputed.load_state_dict(kept.state_dict())

    def once(layer):
        return lambda x: checkpoint(layer, x, use_reentrant=reentrant)

    expected = step(kept, draw((12, 5)))
    x = draw((12, 5)).requires_grad_()
    y = (once(once(recomputed)) if nested else once(recomputed))(x)
    y.backward(draw(x.shape, 9))

    found = [y.detach(), x.grad, *(p.grad for p in recomputed.parameters())]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert recomputed.num_batches_tracked == 1
    for name, one in kept.state_dict().items():
        assert torch.equal(recomputed.state_dict()[name], one), name


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("reentrant", [True, False, None], ids=["reentrant", "not", "kept"])
def test_accumulated_gradients_count_every_part_of_a_batch_once(reentrant, momentum):
    ours, theirs = norm(momentum=momentum), nn.BatchNorm1d(5, momentum=momentum)
    for seed in range(4):
        x = draw((6, 5), seed).requires_grad_()
        y = ours(x) if reentrant is None else checkpoint(ours, x, use_reentrant=reentrant)
        y.backward(draw(x.shape, 9))
        theirs(x).backward(draw(x.shape, 9))

    assert ours.num_batches_tracked == 4
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


def test_checkpoints_so_deep_that_torch_changes_threads_count_a_batch_once():
    layer, threads = norm(), set()

    def once(x, depth):
        if depth:
            return checkpoint(once, x, depth - 1, use_reentrant=True)
        threads.add(threading.get_ident())
        return layer(x)

    once(draw((6, 5)).requires_grad_(), 70).sum().backward()  # from 60 on, another thread

    assert len(threads) == 2
    assert layer.num_batches_tracked == 1


def test_another_thread_s_batch_counts_during_a_backward_pass():
    layer, x = norm(), draw((6, 5)).requires_grad_()

    with ThreadPoolExecutor(1) as pool:

        def train_elsewhere(_):
            pool.submit(layer, draw((6, 5), 1)).result()

        x.register_hook(train_elsewhere)
        x.sum().backward()

    assert layer.num_batches_tracked == 1
