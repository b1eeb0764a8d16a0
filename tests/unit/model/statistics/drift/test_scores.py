"""Scores against closed forms and against torch's own divergence."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from model.statistics.drift.scores import (
    MOST_SCORE,
    Reference,
    channel_scores,
    top_channels,
)


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def reference(mean: torch.Tensor, variance: torch.Tensor) -> Reference:
    return Reference("1", mean, variance)


def test_the_score_is_the_mean_of_both_divergences_that_torch_computes() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, other = torch.randn(2, 50, generator=generator, dtype=torch.float64)
    v, w = torch.rand(2, 50, generator=generator, dtype=torch.float64) + 0.1
    p, q = Normal(mean, v.sqrt()), Normal(other, w.sqrt())
    expected = (kl_divergence(p, q) + kl_divergence(q, p)) / 2
    scores = channel_scores(reference(mean, v), other - mean, w)
    torch.testing.assert_close(scores, expected, rtol=1e-12, atol=1e-12)


def test_closed_forms() -> None:
    one = reference(double(0.0), double(4.0))
    assert channel_scores(one, double(0.0), double(4.0)).item() == 0
    # Half an SD of offset: d^2 / 2v = 1/8.
    assert channel_scores(one, double(1.0), double(4.0)).item() == pytest.approx(1 / 8)
    # Twice the variance: (1/2 + 2 - 2) / 4.
    assert channel_scores(one, double(0.0), double(8.0)).item() == pytest.approx(1 / 8)


def test_a_clean_window_of_n_rows_scores_one_over_n_in_the_mean() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4_000, 128, 1, generator=generator, dtype=torch.float64)
    scores = channel_scores(reference(double(0.0), double(1.0)), x.mean(1), x.var(1))
    assert scores.mean().item() == pytest.approx(1 / 128, rel=0.05)


def test_a_channel_that_is_dead_in_both_scores_nothing() -> None:
    dead = reference(double(3.0, 0.0), double(0.0, 1.0))
    assert channel_scores(dead, double(0.0, 0.0), double(0.0, 1.0)).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("offset", "variance"),
    [(0.0, 1.0), (1.0, 0.0), (1e200, 1.0), (0.0, 1e300), (math.inf, 1.0), (math.nan, math.nan)],
)
@pytest.mark.parametrize("own", [0.0, 1.0, 1e-300])
def test_no_score_is_infinite_whatever_dies_or_overflows(
    own: float, offset: float, variance: float
) -> None:
    scores = channel_scores(
        reference(double(0.0, 0.0), double(own, 1.0)), double(offset, 0), double(variance, 1)
    )
    assert torch.isfinite(scores).all()
    assert (scores >= 0).all()
    assert (scores <= MOST_SCORE).all()


def test_a_dead_channel_that_comes_alive_is_seen() -> None:
    dead = reference(double(0.0, 0.0), double(0.0, 1.0))
    assert channel_scores(dead, double(0.0, 0.0), double(0.01, 1.0))[0].item() > 1_000


def test_a_layer_of_dead_channels_alone_has_a_finite_score() -> None:
    dead = reference(double(0.0, 0.0), double(0.0, 0.0))
    assert channel_scores(dead, double(0.0, 0.0), double(0.0, 0.0)).tolist() == [0, 0]


def test_the_top_channels_come_in_order_with_their_z() -> None:
    five = reference(torch.zeros(5).double(), double(1, 1, 4, 1, 1))
    offset, variance = double(0, 0.5, -2, 0, 0), double(1, 1, 4, 1, 3)
    top = top_channels(five, offset, variance, rows=64, most=3)
    assert [channel.channel for channel in top] == [2, 4, 1]
    assert top[0].z == pytest.approx(-8)  # one SD low, standard error 1/8
    assert top[0].offset == pytest.approx(-1)
    assert top[1].variance_ratio == pytest.approx(3)
    assert top[2].z == pytest.approx(4)


def test_a_channel_without_finite_moments_is_json_all_the_same() -> None:
    one = reference(double(0.0), double(1.0))
    (top,) = top_channels(one, double(math.nan), double(math.inf), rows=64, most=3)
    assert top.to_json() == {
        "channel": 0,
        "score": MOST_SCORE,
        "z": None,
        "offset": None,
        "variance_ratio": None,
    }


def test_a_reference_survives_json_to_the_last_bit() -> None:
    generator = torch.Generator().manual_seed(2)
    mean, variance = torch.randn(2, 9, generator=generator, dtype=torch.float64)
    again = Reference.from_json(reference(mean, variance).to_json())
    assert torch.equal(again.mean, mean)
    assert torch.equal(again.variance, variance)
