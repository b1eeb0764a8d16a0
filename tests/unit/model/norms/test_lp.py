import copy
import itertools

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from model import spec
from model.errors import DeviationZero
from model.norms.batch import BatchNorm
from model.norms.lp import LpNorm

SHAPES = {"rows": (16, 5), "sequences": (6, 5, 7), "images": (4, 5, 3, 2)}
ORDERS = [1, 2, "inf"]


def norm(p=1, dtype=torch.float64, **fields):
    asked = spec.LpNorm.model_validate({"kind": "lp", "p": p, **fields})
    return LpNorm(5, asked, dtype=dtype)


def draw(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(shape, generator=generator, dtype=torch.float64) + 2


def scale_of(values, p):
    """((1/n) sum |x|^p)^(1/p) along the last axis, as the paper writes it."""
    if p == "inf":
        return values.abs().max(-1).values
    return values.abs().pow(p).mean(-1).pow(1 / p)


def by_hand(x, p, eps, mean=None, scale=None):
    values = x.transpose(0, 1).flatten(1)
    mean = values.mean(1) if mean is None else mean
    scale = scale_of(values, p) if scale is None else scale
    along = (1, 5, *[1] * (x.dim() - 2))
    return (x - mean.view(along)) / (scale + eps).view(along)


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    ("eps", "affine", "momentum"),
    list(itertools.product([0.0, 1e-5, 0.5], [True, False], [0.1, None])),
)
def test_the_layer_equals_its_formulas_in_training_and_evaluation(p, shape, eps, affine, momentum):
    layer = norm(p, eps=eps, affine=affine, momentum=momentum)
    mean, scale = torch.zeros(5).double(), torch.ones(5).double()

    for count in range(1, 4):
        mine, other = (draw(shape, count).requires_grad_() for _ in range(2))
        y, expected = layer(mine), by_hand(other, p, eps)
        y.backward(draw(shape, 9))
        expected.backward(draw(shape, 9))
        torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-10, atol=1e-12)
        values = other.detach().transpose(0, 1).flatten(1)
        share = 1 / count if momentum is None else momentum
        mean = (1 - share) * mean + share * values.mean(1)
        scale = (1 - share) * scale + share * scale_of(values, p)

    torch.testing.assert_close(layer.running_mean, mean)
    torch.testing.assert_close(layer.running_scale, scale)
    assert layer.num_batches_tracked == 3
    x = draw(shape, 7)
    torch.testing.assert_close(layer.eval()(x), by_hand(x, p, eps, mean, scale))


@pytest.mark.parametrize("p", ORDERS)
def test_gain_and_bias_are_those_of_each_channel(p):
    layer, x = norm(p), draw((4, 5, 3, 2))
    with torch.no_grad():
        layer.weight.copy_(draw((5,), 1))
        layer.bias.copy_(draw((5,), 2))
    weight, bias = (one.view(1, 5, 1, 1) for one in (layer.weight, layer.bias))

    torch.testing.assert_close(layer(x), by_hand(x, p, 1e-5) * weight + bias)


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("shape", [(6, 5), (2, 5, 3)], ids=str)
def test_the_gradient_passes_gradcheck(p, shape):
    layer = norm(p)

    def apply(x, weight, bias):
        copied = copy.deepcopy(layer)
        parameters = {"weight": weight, "bias": bias}
        return torch.func.functional_call(copied, parameters, (x,))

    leaves = [draw(shape), draw((5,), 1), draw((5,), 2)]
    assert torch.autograd.gradcheck(apply, [leaf.requires_grad_() for leaf in leaves])


def test_with_p_2_and_a_mean_of_0_it_is_batch_norm_by_the_biased_deviation():
    x = draw((16, 5))
    x = x - x.mean(0)
    batch = BatchNorm(5, spec.BatchNorm(kind="batch", eps=0.0), dtype=torch.float64)

    torch.testing.assert_close(norm(2, eps=0.0)(x), batch(x))


def test_a_channel_far_from_0_leaves_with_a_small_spread():
    """The scale is of x as it comes, so the mean counts as much as the deviations do."""
    x = draw((4000, 5)) + 1000

    y = norm(2, eps=0.0)(x)

    expected = x.std(0, correction=0) / x.square().mean(0).sqrt()
    torch.testing.assert_close(y.std(0, correction=0), expected)
    assert (y.std(0) < 0.01).all()


@pytest.mark.parametrize("p", ORDERS)
def test_evaluation_and_probes_move_nothing(p):
    layer = norm(p)
    layer(draw((16, 5)))
    training = copy.deepcopy(layer)
    before, x = copy.deepcopy(layer.state_dict()), draw((16, 5), 1)

    layer.eval()(x)
    layer.by_batch = True
    probed = layer(x)

    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)
    assert torch.equal(probed, training(x))


def test_a_probe_does_not_see_broken_running_values():
    layer, training = norm().eval(), norm()
    layer.running_mean.fill_(torch.nan)
    layer.by_batch = True

    assert torch.equal(layer(draw((16, 5))), training(draw((16, 5))))


@pytest.mark.parametrize("p", ORDERS)
def test_a_row_gets_the_same_answer_alone_and_in_company(p):
    layer = norm(p)
    layer(draw((16, 5)))
    layer.eval()
    x = draw((16, 5), 1)

    for row in range(len(x)):
        torch.testing.assert_close(layer(x[row : row + 1])[0], layer(x)[row])


@pytest.mark.parametrize("p", ORDERS)
def test_a_channel_of_zeros_has_finite_gradients_with_an_eps(p):
    layer, x = norm(p), draw((8, 5))
    x[:, 3] = 0
    x.requires_grad_()

    layer(x).backward(draw((8, 5), 9))

    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("p", ORDERS)
def test_a_channel_of_zeros_with_eps_0_stops_and_moves_nothing(p):
    layer, x = norm(p, eps=0.0), draw((8, 5))
    x[:, 3] = 0

    message = "^channel 3 is 0 in the whole batch and eps is 0: there is no deviation to divide by$"
    with pytest.raises(DeviationZero, match=message):
        layer(x)
    assert layer.num_batches_tracked == 0
    assert not layer.running_mean.any()


def test_a_constant_channel_that_is_not_0_becomes_the_bias():
    x = draw((8, 5))
    x[:, 3] = 7

    assert not norm(eps=0.0)(x)[:, 3].any()


def test_a_scale_is_never_called_a_variance():
    names = set(norm().state_dict())

    assert names == {"weight", "bias", "running_mean", "running_scale", "num_batches_tracked"}
    with pytest.raises(RuntimeError, match=r"Missing key.*running_var.*\s+Unexpected.*scale"):
        nn.BatchNorm1d(5).load_state_dict(norm().state_dict())


def test_a_saved_state_gives_the_same_answers():
    one, other = norm(2), norm(2)
    one(draw((16, 5)))

    other.load_state_dict(one.state_dict(), strict=True)

    x = draw((16, 5), 1)
    assert torch.equal(one.eval()(x), other.eval()(x))


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_summed_in_float32_and_stays_finite(p, dtype):
    x = (1000 * draw((64, 5))).to(dtype)
    layer, wide = norm(p, torch.float32), norm(p, torch.float32)

    y = layer(x)

    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), wide(x.float()), rtol=0.02, atol=0.02)
    torch.testing.assert_close(layer.running_scale, wide.running_scale, rtol=1e-3, atol=0)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_batch_that_is_computed_again_is_counted_once(reentrant):
    kept, recomputed = norm(), norm()
    mine, other = (draw((12, 5)).requires_grad_() for _ in range(2))

    kept(mine).backward(draw((12, 5), 9))
    checkpoint(recomputed, other, use_reentrant=reentrant).backward(draw((12, 5), 9))

    assert torch.equal(mine.grad, other.grad)
    torch.testing.assert_close(recomputed.state_dict(), kept.state_dict(), rtol=0, atol=0)


def test_what_cannot_be_normalized_is_refused_in_words():
    with pytest.raises(ValueError, match=r"^training mode needs at least 2 values per channel"):
        norm()(draw((1, 5)))
    with pytest.raises(ValueError, match=r"^expected 5 channels, got 4 in input"):
        norm()(draw((8, 4)))


def test_printing_names_the_convention():
    assert repr(norm("inf")) == "LpNorm(5, p=inf, momentum=0.1, eps=1e-05, affine=True)"
