"""One point of the history against numpy, on a network whose statistics are known."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from model.norms.batch import BatchNorm
from model.spec import BatchNorm as Convention
from model.statistics.history import point, statistics_of
from model.statistics.population import Statistics


def layer(channels: int, **fields: Any) -> BatchNorm:
    return BatchNorm(channels, Convention(kind="batch", **fields))


@pytest.fixture
def network() -> nn.Sequential:
    norm = layer(4, momentum=0.5)
    norm.running_mean.copy_(torch.tensor([1.0, -2.0, 0.0, 3.0]))
    norm.running_var.copy_(torch.tensor([4.0, 1.0, 9.0, 16.0]))
    norm.num_batches_tracked.fill_(3)
    return nn.Sequential(nn.Linear(2, 4), norm).eval()


def given(mean: list[float], variance: list[float]) -> Statistics:
    return Statistics(*(torch.tensor(one, dtype=torch.float64) for one in (mean, variance)))


def test_distances_are_in_deviations_of_the_population(network: nn.Sequential) -> None:
    population = {"1": given([0.0, 0.0, 0.0, 0.0], [4.0, 4.0, 4.0, 4.0])}
    batch = {"1": given([2.0, 2.0, 2.0, 2.0], [4.0, 4.0, 4.0, 4.0])}
    told = point(network, batch, population, 100)
    assert told["rows"] == 100
    [one] = told["layers"]
    assert (one["layer"], one["channels"]) == ("1", 4)
    assert one["share_of_initial"] == pytest.approx(0.125)
    assert one["mean"]["running"] == pytest.approx(np.sqrt((1 + 4 + 9) / 4))
    assert one["variance"]["running"] == pytest.approx((4 * 1 * 9 * 16) ** 0.25)
    moved = np.quantile([0.5, 1.0, 0.0, 1.5], [0.25, 0.5, 0.75], method="nearest")
    assert list(one["running_distance"]["mean_sd"].values()) == pytest.approx(moved)
    ratios = np.log([1.0, 0.25, 2.25, 4.0])
    expected = np.quantile(ratios, [0.25, 0.5, 0.75], method="nearest")
    assert list(one["running_distance"]["log_variance"].values()) == pytest.approx(expected)
    assert one["batch_distance"]["mean_sd"]["median"] == 1.0
    assert one["batch_distance"]["log_variance"]["median"] == 0.0


def test_channels_that_do_not_vary_in_the_population_are_not_compared(
    network: nn.Sequential,
) -> None:
    population = {"1": given([0.0, 0.0, 0.0, 0.0], [0.0, 4.0, 0.0, 0.0])}
    [one] = point(network, {}, population, 10)["layers"]
    assert set(one["running_distance"]["mean_sd"].values()) == {1.0}
    assert one["variance"]["population"] == 4.0
    assert (one["mean"]["batch"], one["batch_distance"]) == (None, None)
    dead = {"1": given([0.0] * 4, [0.0] * 4)}
    [one] = point(network, {}, dead, 10)["layers"]
    assert one["running_distance"] == {"mean_sd": None, "log_variance": None}
    assert one["variance"]["population"] is None


def test_a_number_that_is_not_finite_is_null(network: nn.Sequential) -> None:
    norm = network[1]
    assert isinstance(norm, BatchNorm)
    norm.running_mean[0] = torch.nan
    norm.running_var[1] = torch.inf
    population = {"1": given([0.0] * 4, [1.0] * 4)}
    [one] = point(network, {}, population, 10)["layers"]
    assert one["mean"]["running"] is None
    assert one["running_distance"]["mean_sd"] is None
    assert one["variance"]["running"] is None


def test_statistics_of_one_batch_are_its_mean_and_unbiased_variance() -> None:
    network = nn.Sequential(layer(3), nn.Linear(3, 2), layer(2)).eval()
    rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 3 + 1
    before = {name: one.clone() for name, one in network.state_dict().items()}
    state = torch.get_rng_state()
    found = statistics_of(network, (rows,))
    np.testing.assert_allclose(found["0"].mean, rows.double().mean(0), atol=1e-9)
    np.testing.assert_allclose(found["0"].variance, rows.double().var(0), atol=1e-9)
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_what_has_no_statistics_is_empty() -> None:
    assert statistics_of(nn.Sequential(nn.Linear(2, 2)), (torch.zeros(4, 2),)) == {}
    assert statistics_of(nn.Sequential(layer(2)), ()) == {}
    constant = nn.Sequential(layer(2, eps=0.0)).eval()
    assert statistics_of(constant, (torch.ones(4, 2),)) == {}
