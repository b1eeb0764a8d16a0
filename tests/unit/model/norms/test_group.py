import pytest
import torch
from torch import nn

from model import spec
from model.errors import DeviationZero
from model.norms.group import GroupNorm


def norm(channels=6, **convention):
    asked = spec.GroupNorm.model_validate({"kind": "group", **convention})
    return GroupNorm(channels, asked, dtype=torch.float64)


def draw(*shape):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0)).double() + 2


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 4), (5, 6, 4, 2)], ids=str)
@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_the_layer_equals_torch_forward_and_backward(shape, groups, affine):
    ours = norm(groups=groups, affine=affine, eps=1e-3)
    theirs = nn.GroupNorm(groups, 6, eps=1e-3, affine=affine, dtype=torch.float64)
    if affine:
        theirs.load_state_dict({"weight": draw(6), "bias": draw(6)})
        ours.load_state_dict(theirs.state_dict(), strict=True)
    mine, other = (draw(*shape).requires_grad_() for _ in range(2))

    ours(mine).square().sum().backward()
    theirs(other).square().sum().backward()

    assert torch.equal(ours(mine), theirs(other))
    assert torch.equal(mine.grad, other.grad)


def test_training_and_evaluation_are_the_same():
    layer, x = norm(), draw(5, 6)

    assert torch.equal(layer(x), layer.eval()(x))


def test_a_constant_group_with_eps_0_stops_training_but_not_its_neighbours_answers():
    layer, x = norm(groups=2, eps=0.0), draw(3, 6)
    x[1, 3:] = 7

    with pytest.raises(DeviationZero, match="group 1 is constant and eps is 0"):
        layer(x)
    assert torch.isfinite(layer.eval()(x)[[0, 2]]).all()


def test_what_cannot_be_grouped_is_refused_in_words():
    with pytest.raises(ValueError, match=r"^4 groups do not divide 6 channels$"):
        norm(groups=4)
    with pytest.raises(ValueError, match=r"^expected 6 channels in axis 1, got .* \(5, 4\)$"):
        norm()(draw(5, 4))


def test_printing_names_the_convention():
    assert repr(norm(eps=0.5)) == "GroupNorm(6, groups=2, eps=0.5, affine=True)"


def test_a_small_spread_in_float64_is_not_taken_for_none():
    x = 1 + 1e-10 * draw(3, 6)

    assert torch.isfinite(norm(eps=0.0)(x)).all()
