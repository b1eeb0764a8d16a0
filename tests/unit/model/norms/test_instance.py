import pytest
import torch
from torch import nn

from model import spec
from model.errors import DeviationZero
from model.norms.instance import InstanceNorm

TORCH = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d}


def norm(dtype=torch.float64, **convention):
    asked = spec.InstanceNorm.model_validate({"kind": "instance", **convention})
    return InstanceNorm(6, asked, dtype=dtype)


def draw(*shape, seed=0):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double() + 2


@pytest.mark.parametrize("shape", [(5, 6, 4), (5, 6, 4, 2), (1, 6, 1, 2)], ids=str)
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_the_layer_equals_torch_forward_and_backward(shape, affine):
    ours = norm(affine=affine, eps=1e-3)
    theirs = TORCH[len(shape)](6, eps=1e-3, affine=affine, dtype=torch.float64)
    if affine:
        theirs.load_state_dict({"weight": draw(6, seed=1), "bias": draw(6, seed=2)})
        ours.load_state_dict(theirs.state_dict(), strict=True)
    mine, other = (draw(*shape).requires_grad_() for _ in range(2))

    y, expected = ours(mine), theirs(other)
    y.backward(draw(*shape, seed=9))
    expected.backward(draw(*shape, seed=9))

    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(mine.grad, other.grad)
    for one, like in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, like.grad)


def test_each_channel_of_each_image_leaves_with_mean_0_and_variance_var_over_var_plus_eps():
    x = draw(5, 6, 4, 2)

    y = norm(eps=0.5)(x)

    var = x.var((2, 3), correction=0)
    torch.testing.assert_close(y.mean((2, 3)), torch.zeros(5, 6).double())
    torch.testing.assert_close(y.var((2, 3), correction=0), var / (var + 0.5))


def test_the_gradient_passes_gradcheck():
    assert torch.autograd.gradcheck(norm(), draw(2, 6, 3).requires_grad_())


def test_training_and_evaluation_are_the_same_and_nothing_runs():
    layer, x = norm(), draw(5, 6, 4, 2)

    assert torch.equal(layer(x), layer.eval()(x))
    assert not list(layer.buffers())


def test_an_image_gets_the_same_answer_alone_and_in_company():
    layer, x = norm(), draw(5, 6, 4, 2)

    for row in range(5):
        assert torch.equal(layer(x[row : row + 1])[0], layer(x)[row])


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 1), (5, 6, 1, 1)], ids=str)
def test_a_single_position_is_refused_in_words(shape):
    message = r"^expected at least 2 positions per channel, got input of shape \(5, 6"
    with pytest.raises(ValueError, match=message):
        norm()(torch.zeros(shape))


def test_another_number_of_channels_is_refused_in_words():
    with pytest.raises(ValueError, match=r"^expected 6 channels in axis 1, got .* \(5, 4, 3\)$"):
        norm()(torch.zeros(5, 4, 3))


def test_a_constant_channel_with_eps_0_stops_training_but_not_its_neighbours_answers():
    layer, x = norm(eps=0.0), draw(3, 6, 4)
    x[1, 3] = 7

    with pytest.raises(DeviationZero, match="3 is constant and eps is 0"):
        layer(x)
    y = layer.eval()(x)
    assert torch.isfinite(y[[0, 2]]).all()
    assert torch.isfinite(y[1, [0, 1, 2, 4, 5]]).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_stays_finite(dtype):
    x = (1000 * draw(3, 6, 4, 4)).to(dtype)

    assert torch.isfinite(norm(dtype)(x)).all()


def test_printing_names_the_convention():
    assert repr(norm(eps=0.5)) == "InstanceNorm(6, eps=0.5, affine=True)"
