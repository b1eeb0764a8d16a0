import itertools

import numpy as np
import pytest
import torch

from model.statistics.moments import Moments

SHAPES = {"rows": (40, 5), "sequences": (40, 5, 7), "images": (40, 5, 3, 4)}


def draw(shape, seed=0):
    values = np.random.default_rng(seed).normal(size=shape)
    channel = np.arange(shape[1]).reshape(-1, *[1] * (len(shape) - 2))
    return torch.from_numpy((channel + 1) * values + 10.0 * channel)


def assert_moments(found, x, rtol=1e-12):
    values = np.moveaxis(x.double().numpy(), 1, 0).reshape(x.shape[1], -1)
    assert found.count == values.shape[1]
    assert found.mean.dtype == found.m2.dtype == torch.float64
    np.testing.assert_allclose(found.mean.numpy(), values.mean(1), rtol=rtol, atol=1e-13)
    for correction in (0, 1):
        expected = values.var(1, ddof=correction)
        np.testing.assert_allclose(found.variance(correction).numpy(), expected, rtol=rtol)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_one_block_has_numpys_mean_and_variance(shape):
    x = draw(shape)

    assert_moments(Moments.of(x), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
def test_narrow_types_are_summed_in_float64(dtype):
    x = (100 * draw((2000, 5)).abs()).clamp_max(255).to(dtype)

    assert_moments(Moments.of(x), x)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("sizes", [(1,) * 40, (2,) * 20, (17, 23), (39, 1)], ids=len)
def test_blocks_of_any_size_merge_to_the_moments_of_all_rows(shape, sizes):
    x = draw(shape)
    merged = Moments.empty(5)

    for block in x.split(list(sizes)):
        merged = merged.merged(Moments.of(block))

    assert_moments(merged, x)


def test_the_order_of_merging_does_not_matter():
    x = draw(SHAPES["images"])
    parts = [Moments.of(block) for block in x.split([3, 30, 7])]

    for first, second, third in itertools.permutations(parts):
        assert_moments(first.merged(second).merged(third), x)
        assert_moments(first.merged(second.merged(third)), x)


@pytest.mark.parametrize("block", [1, 7, 400])
def test_a_large_mean_does_not_swallow_a_small_variance(block):
    small = draw((400, 5), 1) * 1e-4
    x = small + 2.0**20
    exact = x - 2.0**20  # no bit is lost in going back
    merged = Moments.empty(5)

    for rows in x.split(block):
        merged = merged.merged(Moments.of(rows))

    expected = exact.numpy().var(0, ddof=1)
    # One rounding of the mean is 1e-6 deviations here; E[x^2] - E[x]^2 has no digit left.
    np.testing.assert_allclose(merged.variance().numpy(), expected, rtol=1e-6)


def test_a_constant_channel_has_the_variance_zero():
    x = torch.full((300, 3), 0.1)

    found = Moments.of(x).merged(Moments.of(x[:7]))

    assert found.variance().tolist() == [0, 0, 0]
    assert found.mean.tolist() == [float(x[0, 0])] * 3


def test_nothing_merges_to_nothing_and_changes_nothing():
    empty, some = Moments.empty(5), Moments.of(draw((10, 5)))

    assert empty.merged(empty).count == 0
    for both in (some.merged(empty), empty.merged(some), some.merged(Moments.of(draw((0, 5))))):
        assert both.count == 10
        assert torch.equal(both.mean, some.mean)
        assert torch.equal(both.m2, some.m2)


def test_a_variance_of_too_few_values_is_refused():
    with pytest.raises(ValueError, match="a variance over n - 1 of 1 values"):
        Moments.of(draw((1, 5))).variance()
    with pytest.raises(ValueError, match="a variance over n - 0 of 0 values"):
        Moments.empty(5).variance(0)


def test_a_tensor_without_channels_is_refused():
    with pytest.raises(ValueError, match=r"got \(4,\)"):
        Moments.of(torch.zeros(4))


def test_a_large_block_is_taken_part_by_part(monkeypatch):
    x = torch.randn(37, 3, 4, 5, generator=torch.Generator().manual_seed(0)) * 3 + 100
    whole = Moments.of(x)
    monkeypatch.setattr("model.statistics.moments.MOST_VALUES", 7 * 60)
    parts = Moments.of(x)
    assert parts.count == whole.count == 37 * 20
    torch.testing.assert_close(parts.mean, whole.mean, rtol=1e-14, atol=0)
    torch.testing.assert_close(parts.m2, whole.m2, rtol=1e-12, atol=0)
