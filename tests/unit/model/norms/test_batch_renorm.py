import copy
import itertools

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from model import spec
from model.errors import DeviationZero
from model.norms.batch import BatchNorm
from model.norms.batch_renorm import BatchRenorm

SHAPES = {"rows": (16, 5), "sequences": (6, 5, 7), "images": (4, 5, 3, 2)}
TORCH = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
AT_ONCE = {"warmup_batches": 0, "r_ramp_batches": 0, "d_ramp_batches": 0}
UNBOUNDED = {**AT_ONCE, "r_max": 1e6, "d_max": 1e6}


def norm(dtype=torch.float64, **fields):
    asked = spec.BatchRenorm.model_validate({"kind": "batch_renorm", **fields})
    return BatchRenorm(5, asked, dtype=dtype)


def plain(**fields):
    """Batch norm by its formulas, kept from torch's kernel."""
    asked = spec.BatchNorm.model_validate({"kind": "batch", **fields})
    layer = BatchNorm(5, asked, dtype=torch.float64)
    layer._trains_in_kernel = False
    return layer


def draw(shape, seed=0):
    """Batches whose means and spreads differ by so much that the bounds of r and d bite."""
    generator = torch.Generator().manual_seed(seed)
    spread, mean = (torch.rand(1, generator=generator).item() * by for by in (9.0, 8.0))
    wide = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (spread + 0.5) * wide + mean - 4


def randomize(*layers):
    for layer in layers:
        with torch.no_grad():
            layer.weight.copy_(draw((5,), 1))
            layer.bias.copy_(draw((5,), 2))


class Transcript:
    """The formulas of docs/norms.md, in float64, r and d cut from the graph."""

    def __init__(self, running, normalize, eps, momentum, r_max, d_max, warmup, r_ramp, d_ramp):
        self.running, self.normalize, self.eps, self.momentum = running, normalize, eps, momentum
        self.r_max, self.d_max = r_max, d_max
        self.warmup, self.r_ramp, self.d_ramp = warmup, r_ramp, d_ramp
        self.mean, self.spread = torch.zeros(5).double(), torch.ones(5).double()
        self.t, self.met = 0, set()

    def divisor(self, spread):
        return (spread + self.eps).sqrt() if self.running == "variance" else spread + self.eps

    def bounds(self):
        if self.t <= self.warmup:
            return 1.0, 0.0
        past = self.t - self.warmup
        r = min(1 + (self.r_max - 1) * past / self.r_ramp, self.r_max)
        return r, min(self.d_max * past / self.d_ramp, self.d_max)

    def __call__(self, x):
        values = x.transpose(0, 1).flatten(1)
        n = values.shape[1]
        mean = values.mean(1)
        squares = (values - mean[:, None]).square().sum(1)
        var = squares / (n if self.normalize == "biased" else n - 1)
        divisor = self.divisor(var if self.running == "variance" else var.sqrt())
        most_r, most_d = self.bounds()
        sigma = self.divisor(self.spread)
        r = (divisor / sigma).detach().clamp(1 / most_r, most_r)
        d = ((mean - self.mean) / sigma).detach().clamp(-most_d, most_d)
        self.met.add("r" if bool(((r > 1 / most_r) & (r < most_r)).any()) else "r bound")
        self.met.add("d" if bool((d.abs() < most_d).any()) else "d bound")
        self.t += 1
        share = 1 / self.t if self.momentum is None else self.momentum
        stored = squares.detach() / (n - 1)
        stored = stored if self.running == "variance" else stored.sqrt()
        self.mean = (1 - share) * self.mean + share * mean.detach()
        self.spread = (1 - share) * self.spread + share * stored
        along = (1, 5, *[1] * (x.dim() - 2))
        return (x - mean.view(along)) / divisor.view(along) * r.view(along) + d.view(along)


CONVENTIONS = [
    {"running": running, "normalize": normalize, "eps": eps, "momentum": momentum}
    for running, normalize, eps, momentum in itertools.product(
        ["variance", "deviation"], ["biased", "unbiased"], [0.0, 1e-3], [0.1, None]
    )
]


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda c: "-".join(map(str, c.values())))
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_training_equals_its_formulas_through_warm_up_and_ramps(convention, shape):
    schedule = {"r_max": 2.5, "d_max": 1.5, "warmup_batches": 2}
    layer = norm(**convention, **schedule, r_ramp_batches=5, d_ramp_batches=3)
    formulas = Transcript(**convention, r_max=2.5, d_max=1.5, warmup=2, r_ramp=5, d_ramp=3)
    randomize(layer)

    for seed in range(10):
        mine, other = (draw(shape, seed).requires_grad_() for _ in range(2))
        y = layer(mine)
        along = (1, 5, *[1] * (len(shape) - 2))
        weight, bias = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias))
        expected = formulas(other) * weight.view(along) + bias.view(along)
        layer.zero_grad()
        y.backward(draw(shape, 99))
        expected.backward(draw(shape, 99))
        torch.testing.assert_close(y, expected, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(layer.weight.grad, weight.grad)
        torch.testing.assert_close(layer.bias.grad, bias.grad)

    assert formulas.met == {"r", "d", "r bound", "d bound"}
    torch.testing.assert_close(layer.running_mean, formulas.mean)
    torch.testing.assert_close(layer.running_spread, formulas.spread)
    assert layer.num_batches_tracked == 10


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("running", ["variance", "deviation"])
def test_without_bounds_training_answers_as_evaluation_does(shape, running):
    layer = norm(**UNBOUNDED, running=running)
    randomize(layer)
    for seed in range(4):
        evaluating = copy.deepcopy(layer).eval()
        x = draw(shape, seed)
        torch.testing.assert_close(layer(x), evaluating(x), rtol=1e-11, atol=1e-11)
    assert layer.num_batches_tracked == 4


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("fields", [{}, {**AT_ONCE, "r_max": 1.0, "d_max": 0.0}], ids=str)
def test_with_r_1_and_d_0_it_is_batch_norm_to_the_bit(shape, affine, fields):
    """In the warm-up, or with bounds that leave nothing."""
    renorm, batch = norm(**fields, affine=affine), plain(affine=affine)
    theirs = TORCH[len(shape)](5, affine=affine, dtype=torch.float64)

    for seed in range(3):
        inputs = [draw(shape, seed).requires_grad_() for _ in range(3)]
        outputs = [one(x) for one, x in zip((renorm, batch, theirs), inputs, strict=True)]
        for y in outputs:
            y.backward(draw(shape, 9))
        assert torch.equal(outputs[0], outputs[1])
        assert torch.equal(inputs[0].grad, inputs[1].grad)
        torch.testing.assert_close(outputs[0], outputs[2])
        torch.testing.assert_close(inputs[0].grad, inputs[2].grad)
    torch.testing.assert_close(renorm.state_dict(), theirs.state_dict())


def test_with_r_1_and_d_0_the_gradient_passes_gradcheck():
    layer = norm()

    assert torch.autograd.gradcheck(
        lambda x: copy.deepcopy(layer)(x), draw((6, 5)).requires_grad_()
    )


def test_the_gradient_of_x_is_batch_norm_s_times_r():
    layer, batch = norm(**UNBOUNDED, eps=0.0), plain(eps=0.0)
    layer.running_var.copy_(draw((5,), 3).square() + 1)
    mine, other = (draw((16, 5)).requires_grad_() for _ in range(2))
    r = mine.detach().std(0, correction=0) / layer.running_var.sqrt()

    layer(mine).backward(draw((16, 5), 9))
    batch(other).backward(draw((16, 5), 9))

    torch.testing.assert_close(mine.grad, r * other.grad)


@pytest.mark.parametrize("t", [0, 4_999, 5_000, 5_001, 15_000, 25_000, 30_000, 40_000, 10**6])
def test_the_default_schedule_is_the_paper_s(t):
    layer = norm()
    layer.num_batches_tracked.fill_(t)

    r, d = (float(bound) for bound in layer._bounds())

    assert r == pytest.approx(min(max(1 + 2 * (t - 5_000) / 35_000, 1), 3))
    assert d == pytest.approx(min(max(5 * (t - 5_000) / 20_000, 0), 5))


@pytest.mark.parametrize(("t", "expected"), [(6, (1, 0)), (7, (3, 5)), (8, (3, 5))])
def test_a_ramp_of_no_batches_is_a_jump_after_the_warm_up(t, expected):
    layer = norm(warmup_batches=7, r_ramp_batches=0, d_ramp_batches=0)
    layer.num_batches_tracked.fill_(t)

    assert tuple(float(bound) for bound in layer._bounds()) == expected


def test_evaluation_and_probes_are_those_of_batch_norm():
    renorm, batch = norm(**UNBOUNDED), plain()
    renorm(draw((16, 5)))
    batch.load_state_dict(renorm.state_dict())
    renorm.eval(), batch.eval()
    before, x = copy.deepcopy(renorm.state_dict()), draw((16, 5), 1)

    for by_batch in (False, True):
        renorm.by_batch = batch.by_batch = by_batch
        assert torch.equal(renorm(x), batch(x))
    torch.testing.assert_close(renorm.state_dict(), before, rtol=0, atol=0)


def test_a_probe_does_not_see_broken_running_values():
    layer, batch = norm(**UNBOUNDED).eval(), plain()
    layer.running_mean.fill_(torch.nan)
    layer.by_batch = True

    assert torch.equal(layer(draw((16, 5))), batch(draw((16, 5))))


def test_a_row_gets_the_same_answer_alone_and_in_company():
    layer = norm(**UNBOUNDED)
    layer(draw((16, 5)))
    layer.eval()
    x = draw((16, 5), 1)

    for row in range(len(x)):
        torch.testing.assert_close(layer(x[row : row + 1])[0], layer(x)[row])


def test_a_layer_goes_on_from_its_saved_state_with_the_same_bits():
    schedule = {"warmup_batches": 2, "r_ramp_batches": 4, "d_ramp_batches": 4}
    one, other = norm(**schedule), norm(**schedule)
    for seed in range(4):
        one(draw((16, 5), seed))

    other.load_state_dict(copy.deepcopy(one.state_dict()), strict=True)

    for seed in range(4, 8):
        assert torch.equal(one(draw((16, 5), seed)), other(draw((16, 5), seed)))


def test_state_travels_to_torch():
    ours, theirs = norm(), nn.BatchNorm1d(5, dtype=torch.float64)
    ours(draw((16, 5)))

    theirs.load_state_dict(ours.state_dict(), strict=True)

    assert torch.allclose(ours.eval()(draw((4, 5), 1)), theirs.eval()(draw((4, 5), 1)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32(dtype):
    layer, wide = norm(torch.float32, **UNBOUNDED), norm(torch.float32, **UNBOUNDED)
    x = draw((64, 5)).to(dtype)

    y = layer(x)

    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), wide(x.float()), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_batch_cannot_be_computed_again(reentrant):
    layer, x = norm(), draw((16, 5)).requires_grad_()
    y = checkpoint(layer, x, use_reentrant=reentrant)

    with pytest.raises(RuntimeError, match="cannot compute a batch again that it has counted"):
        y.sum().backward()


def test_what_cannot_be_normalized_is_refused():
    with pytest.raises(ValueError, match="training mode needs at least 2 values per channel"):
        norm()(draw((1, 5)))
    with pytest.raises(DeviationZero, match="channel 0 is constant"):
        norm(eps=0.0)(torch.ones(4, 5).double())


def test_printing_names_the_schedule():
    assert repr(norm()).endswith(
        "normalize=biased, r_max=3.0, d_max=5.0, warmup_batches=5000, r_ramp_batches=35000, "
        "d_ramp_batches=20000)"
    )
