import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from model import spec
from model.norms.batch import BatchNorm
from model.norms.noise import noised
from model.norms.noisy_batch import NoisyBatchNorm

SILENT = {"n_mu": 0.0, "n_sigma": 1.0, "r_mu": 0.0, "r_sigma": 0.0}
SHAPES = {"rows": (16, 5), "images": (4, 5, 3, 2)}
TORCH = {2: nn.BatchNorm1d, 4: nn.BatchNorm2d}


def norm(dtype=torch.float64, **fields):
    asked = spec.NoisyBatchNorm.model_validate({"kind": "noisy_batch", **fields})
    return NoisyBatchNorm(5, asked, dtype=dtype)


def plain(dtype=torch.float64, **fields):
    return BatchNorm(5, spec.BatchNorm.model_validate({"kind": "batch", **fields}), dtype=dtype)


def draw(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(shape, generator=generator, dtype=torch.float64) + 2


def seeded(call, *values):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return call(*values)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("convention", [{}, {"running": "deviation"}, {"momentum": None}], ids=str)
def test_training_puts_noise_on_what_batch_norm_gives_and_tracks_what_it_tracks(shape, convention):
    noisy, clean = norm(**convention), plain(**convention)
    x = draw(shape)

    y = seeded(noisy, x)

    torch.testing.assert_close(y, seeded(noised, clean(x), noisy.convention), rtol=0, atol=0)
    torch.testing.assert_close(noisy.state_dict(), clean.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_without_noise_it_is_torch_s_batch_norm_forward_and_backward(shape):
    ours, theirs = norm(**SILENT), TORCH[len(shape)](5, dtype=torch.float64)
    mine, other = (draw(shape).requires_grad_() for _ in range(2))

    y, expected = ours(mine), theirs(other)
    y.backward(draw(shape, 9))
    expected.backward(draw(shape, 9))

    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(mine.grad, other.grad)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())


def test_the_gradient_is_that_of_the_noisy_values():
    layer = norm()

    assert torch.autograd.gradcheck(
        lambda x: seeded(copy.deepcopy(layer), x), draw((6, 5)).requires_grad_()
    )


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_evaluation_and_probes_are_those_of_batch_norm_and_draw_nothing(shape):
    noisy, clean = norm(), plain()
    for seed in range(3):
        noisy(draw(shape, seed)), clean(draw(shape, seed))
    noisy.eval(), clean.eval()
    before, x = torch.get_rng_state(), draw(shape, 7)

    for by_batch in (False, True):
        noisy.by_batch = clean.by_batch = by_batch
        assert torch.equal(noisy(x), clean(x))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_probe_does_not_silence_training():
    layer, x = norm(), draw((16, 5))
    layer.by_batch = True

    assert not torch.equal(seeded(layer, x), plain()(x))


def test_state_travels_to_torch_and_back():
    ours, theirs = norm(), nn.BatchNorm1d(5, dtype=torch.float64)
    ours(draw((16, 5)))

    theirs.load_state_dict(ours.state_dict(), strict=True)
    back = norm()
    back.load_state_dict(theirs.state_dict(), strict=True)

    assert torch.equal(ours.eval()(draw((16, 5), 1)), back.eval()(draw((16, 5), 1)))


@pytest.mark.parametrize("reentrant", [True, False])
def test_activations_that_are_computed_again_have_the_noise_that_they_had(reentrant):
    kept, recomputed = norm(), norm()
    mine, other = (draw((12, 5)).requires_grad_() for _ in range(2))

    seeded(kept, mine).backward(draw((12, 5), 9))
    y = seeded(lambda x: checkpoint(recomputed, x, use_reentrant=reentrant), other)
    y.backward(draw((12, 5), 9))

    assert torch.equal(mine.grad, other.grad)
    assert recomputed.num_batches_tracked == 1


def test_building_draws_nothing():
    before = torch.get_rng_state()

    norm()

    assert torch.equal(torch.get_rng_state(), before)


def test_printing_names_the_noise():
    assert repr(norm()).endswith(
        "normalize=biased, n_mu=0.5, n_sigma=1.25, r_mu=0.1, r_sigma=0.1, per=unit)"
    )
