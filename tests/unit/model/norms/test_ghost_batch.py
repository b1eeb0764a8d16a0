import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from model import spec
from model.errors import DeviationZero
from model.norms.batch import BatchNorm
from model.norms.ghost_batch import GhostBatchNorm

SHAPES = {"rows": (16, 5), "sequences": (16, 5, 3), "images": (16, 5, 3, 2)}
TORCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}


def norm(group_size=4, **fields):
    asked = {"kind": "ghost_batch", "group_size": group_size, **fields}
    return GhostBatchNorm(5, spec.GhostBatchNorm.model_validate(asked), dtype=torch.float64)


def plain(**fields):
    asked = spec.BatchNorm.model_validate({"kind": "batch", **fields})
    return BatchNorm(5, asked, dtype=torch.float64)


def draw(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(shape, generator=generator, dtype=torch.float64) + 2


def step(layer, x):
    """Output and the gradients of x and the parameters, for one cotangent."""
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(draw(x.shape, 9))
    return [y.detach(), x.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("group_size", [4, 7, 10], ids=["even", "remainder of 2", "6"])
@pytest.mark.parametrize("momentum", [0.1, None, 0.0, 1.0])
def test_every_group_is_a_batch_of_its_own_one_after_another(shape, group_size, momentum):
    ours = norm(group_size, momentum=momentum)
    theirs = TORCH[len(shape)](5, momentum=momentum, dtype=torch.float64)

    for seed in range(2):
        x = draw(shape, seed)
        mine, other = (x.clone().requires_grad_() for _ in range(2))
        y = ours(mine)
        expected = torch.cat([theirs(group) for group in other.split(group_size)])
        y.backward(draw(shape, 9))
        expected.backward(draw(shape, 9))
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(mine.grad, other.grad)

    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    assert ours.num_batches_tracked == 2 * -(-16 // group_size)
    assert ours.counted == -(-16 // group_size)
    assert torch.allclose(ours.eval()(x), theirs.eval()(x))


def test_the_running_mean_is_the_sum_of_the_groups_shares():
    """(1 - m)^k mean_0 + sum_i (1 - m)^(k - i) m mean_i, from a mean that is not 0."""
    layer, x, m, k = norm(momentum=0.3), draw((16, 5)), 0.3, 4
    start = draw((5,), 1)
    layer.running_mean.copy_(start)

    layer(x)

    means = [group.mean(0) for group in x.split(4)]
    shares = [(1 - m) ** (k - i) * m for i in range(1, k + 1)]
    expected = (1 - m) ** k * start + sum(
        share * mean for share, mean in zip(shares, means, strict=True)
    )
    torch.testing.assert_close(layer.running_mean, expected)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("group_size", [16, 17, 1000])
@pytest.mark.parametrize("fields", [{}, {"running": "deviation"}, {"momentum": None}], ids=str)
def test_a_group_as_large_as_the_batch_is_batch_norm_to_the_bit(shape, group_size, fields):
    ghost, batch = norm(group_size, **fields), plain(**fields)

    for mine, other in zip(step(ghost, draw(shape)), step(batch, draw(shape)), strict=True):
        assert torch.equal(mine, other)
    torch.testing.assert_close(ghost.state_dict(), batch.state_dict(), rtol=0, atol=0)


def test_each_of_two_domains_in_a_batch_leaves_with_mean_0():
    x = draw((16, 5))
    x[8:] += 100

    y, mixed = norm(8)(x), plain()(x)

    for half in (y[:8], y[8:]):
        torch.testing.assert_close(half.mean(0), torch.zeros(5).double())
    assert (mixed[:8].mean(0) < -0.9).all()


def test_the_gradient_passes_gradcheck():
    layer = norm(4)

    assert torch.autograd.gradcheck(
        lambda x: copy.deepcopy(layer)(x), draw((6, 5)).requires_grad_()
    )


def test_evaluation_and_probes_know_no_groups():
    ghost, batch = norm(), plain()
    ghost(draw((16, 5)))
    batch.load_state_dict(ghost.state_dict())
    ghost.eval(), batch.eval()
    before = copy.deepcopy(ghost.state_dict())

    for by_batch in (False, True):
        ghost.by_batch = batch.by_batch = by_batch
        assert torch.equal(ghost(draw((15, 5), 1)), batch(draw((15, 5), 1)))
    torch.testing.assert_close(ghost.state_dict(), before, rtol=0, atol=0)


def test_groups_of_one_value_are_refused_before_anything_moves():
    layer = norm(1)

    message = r"^training mode needs at least 2 values per channel in a group, got groups of 1 row$"
    with pytest.raises(ValueError, match=message):
        layer(draw((4, 5)))
    assert layer.num_batches_tracked == 0
    assert not layer.running_mean.any()


def test_a_left_over_row_without_positions_joins_the_group_before_it():
    ours, theirs = norm(4), nn.BatchNorm1d(5, dtype=torch.float64)
    x = draw((13, 5))

    expected = torch.cat([theirs(group) for group in x.split([4, 4, 5])])

    torch.testing.assert_close(ours(x), expected)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    assert ours.counted == 3


def test_a_left_over_image_is_a_group_of_its_own():
    ours, theirs = norm(4), nn.BatchNorm2d(5, dtype=torch.float64)
    x = draw((5, 5, 2, 2))

    expected = torch.cat([theirs(group) for group in x.split([4, 1])])

    torch.testing.assert_close(ours(x), expected)


def test_positions_make_a_row_enough_for_a_group():
    layer, theirs = norm(1), nn.BatchNorm2d(5, dtype=torch.float64)
    x = draw((3, 5, 2, 2))

    expected = torch.cat([theirs(row) for row in x.split(1)])

    torch.testing.assert_close(layer(x), expected)


def test_a_constant_group_with_eps_0_stops():
    x = draw((16, 5))
    x[4:8, 2] = 7

    with pytest.raises(DeviationZero, match="channel 2 is constant"):
        norm(4, eps=0.0)(x)


@pytest.mark.parametrize("reentrant", [True, False])
def test_groups_that_are_computed_again_are_counted_once(reentrant):
    kept, recomputed = norm(), norm()
    expected = step(kept, draw((16, 5)))

    x = draw((16, 5)).requires_grad_()
    y = checkpoint(recomputed, x, use_reentrant=reentrant)
    y.backward(draw(x.shape, 9))
    assert torch.equal(x.grad, expected[1])
    assert recomputed.num_batches_tracked == 4


def test_state_travels_to_torch_and_back():
    ours, theirs = norm(), nn.BatchNorm1d(5, dtype=torch.float64)
    ours(draw((16, 5)))

    theirs.load_state_dict(ours.state_dict(), strict=True)
    back = norm()
    back.load_state_dict(theirs.state_dict(), strict=True)

    x = draw((16, 5), 1)
    assert torch.equal(ours(x), back(x))


def test_printing_names_the_groups():
    assert repr(norm()).endswith("normalize=biased, group_size=4)")
