import pytest
import torch
from torch import nn

from model import spec
from model.errors import DeviationZero
from model.norms.layer import LayerNorm


def norm(shape, **convention):
    asked = spec.LayerNorm.model_validate({"kind": "layer", **convention})
    return LayerNorm(shape, asked, dtype=torch.float64)


def draw(*shape):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0)).double() + 2


@pytest.mark.parametrize("shape", [(6,), (3, 4), (3, 4, 2)], ids=str)
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_the_layer_equals_torch_forward_and_backward(shape, affine):
    ours = norm(shape, affine=affine, eps=1e-3)
    theirs = nn.LayerNorm(shape, eps=1e-3, elementwise_affine=affine, dtype=torch.float64)
    if affine:
        theirs.load_state_dict({"weight": draw(*shape), "bias": draw(*shape)})
        ours.load_state_dict(theirs.state_dict(), strict=True)
    mine, other = (draw(5, *shape).requires_grad_() for _ in range(2))

    ours(mine).square().sum().backward()
    theirs(other).square().sum().backward()

    assert torch.equal(ours(mine), theirs(other))
    assert torch.equal(mine.grad, other.grad)


def test_each_row_leaves_with_mean_0_and_variance_1():
    y = norm((3, 4), eps=0.0)(draw(5, 3, 4)).flatten(1)

    torch.testing.assert_close(y.mean(1), torch.zeros(5).double())
    torch.testing.assert_close(y.var(1, correction=0), torch.ones(5).double())


def test_training_and_evaluation_are_the_same():
    layer, x = norm((6,)), draw(5, 6)

    assert torch.equal(layer(x), layer.eval()(x))


def test_a_constant_row_with_eps_0_stops_training_but_not_its_neighbours_answers():
    layer, x = norm((6,), eps=0.0), draw(3, 6)
    x[1] = 7

    with pytest.raises(DeviationZero, match="row 1 is constant and eps is 0"):
        layer(x)
    assert torch.isfinite(layer.eval()(x)[[0, 2]]).all()


def test_rows_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"^expected rows of shape \(6,\), got \(7,\)$"):
        norm((6,))(draw(5, 7))


def test_printing_names_the_convention():
    assert repr(norm((6,), eps=0.5)) == "LayerNorm((6,), eps=0.5, affine=True)"


def test_a_small_spread_in_float64_is_not_taken_for_none():
    x = 1 + 1e-10 * draw(3, 6)

    assert torch.isfinite(norm((6,), eps=0.0)(x)).all()
