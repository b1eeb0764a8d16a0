from math import sqrt

import pytest
import torch

from model import spec
from model.norms.noise import Noise, noised

SILENT = {"n_mu": 0.0, "n_sigma": 1.0, "r_mu": 0.0, "r_sigma": 0.0}
SIZES = {
    "paper": {},
    "shift": {**SILENT, "n_mu": 2.0, "r_mu": 0.7},
    "scale": {**SILENT, "n_sigma": 4.0, "r_sigma": 0.5},
}


def sizes(**fields):
    return spec.Noise.model_validate({"kind": "noise", **fields})


def seeded(x, asked, seed=0):
    """What the noise makes of x, from a generator that stands where it stood before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return noised(x, asked)


def within(asked, x):
    """Variance of a value around its unit's means, where x is the same for all."""
    return (asked.r_sigma * x) ** 2 + asked.r_mu**2 / 3


def between(asked, x):
    """Variance of those means over units and steps."""
    return ((asked.n_sigma - 1) * x) ** 2 / 12 + asked.n_mu**2 / 3


@pytest.mark.parametrize("fields", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("x", [0.0, 2.0, -3.0])
def test_mean_and_variance_over_many_draws_are_those_of_the_closed_form(fields, x):
    asked, units = sizes(**fields), 200_000

    y = seeded(torch.full((1, units), x, dtype=torch.float64), asked)

    variance = within(asked, x) + between(asked, x)
    assert abs(y.mean() - (1 + asked.n_sigma) / 2 * x) <= 5 * sqrt(variance / units)
    assert y.var() == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("shape", [(4000, 60), (160, 60, 5, 5)], ids=["rows", "images"])
def test_the_values_of_a_unit_share_its_means_whatever_row_or_position(shape):
    asked, x = sizes(), 2.0

    y = seeded(torch.full(shape, x, dtype=torch.float64), asked).transpose(0, 1).flatten(1)

    assert y.var(1).mean() == pytest.approx(within(asked, x), rel=0.02)
    assert y.mean(1).var() == pytest.approx(between(asked, x), rel=0.6)


def test_per_layer_all_units_share_the_means():
    asked, x = sizes(per="layer"), 2.0

    y = seeded(torch.full((4000, 60), x, dtype=torch.float64), asked)

    assert y.mean(0).var() == pytest.approx(within(asked, x) / 4000, rel=0.6)


def test_every_call_draws_new_means():
    x = torch.ones(2000, 1)

    means = [float(seeded(x, sizes(), seed).mean()) for seed in range(50)]

    assert torch.tensor(means).std() > 0.1


def test_the_gradient_is_the_scale_of_each_value():
    """m is what becomes of 0; s is what 1 has beside it, from the same draws."""
    x = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    shifts = seeded(torch.zeros_like(x), sizes())
    scales = seeded(torch.ones_like(x), sizes()) - shifts

    y = seeded(x, sizes())
    y.sum().backward()

    torch.testing.assert_close(y.detach(), scales * x.detach() + shifts)
    torch.testing.assert_close(x.grad, scales)
    assert torch.autograd.gradcheck(lambda values: seeded(values, sizes()), x)


def test_noise_of_no_size_leaves_every_bit():
    x = torch.randn(6, 5)

    assert torch.equal(noised(x, sizes(**SILENT)), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_the_type_stays(dtype):
    assert noised(torch.ones(3, 4, dtype=dtype), sizes()).dtype == dtype


def test_the_layer_is_noise_while_training_and_nothing_in_evaluation():
    layer, x = Noise(sizes()), torch.randn(6, 5)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        y = layer(x)

    assert torch.equal(y, seeded(x, sizes()))
    assert layer.eval()(x) is x
    assert not layer.state_dict()


def test_evaluation_draws_nothing():
    before = torch.get_rng_state()

    Noise(sizes()).eval()(torch.ones(3, 4))

    assert torch.equal(torch.get_rng_state(), before)


def test_printing_names_the_sizes():
    assert repr(Noise(sizes(per="layer"))) == (
        "Noise(n_mu=0.5, n_sigma=1.25, r_mu=0.1, r_sigma=0.1, per=layer)"
    )
