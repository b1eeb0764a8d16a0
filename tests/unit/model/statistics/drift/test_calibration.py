"""What a checkpoint keeps for its monitor, and when there is nothing to keep."""

import json

import pytest
import torch

from model.statistics.drift.calibration import Calibration, calibration
from model.statistics.drift.reference import running


def rows(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


def made(network: torch.nn.Module, count: int = 300) -> Calibration | None:
    generator = torch.Generator().manual_seed(1)
    return calibration(network, rows(500, 2), rows(count, 3), 128, generator)


def test_running_statistics_are_the_reference_where_there_are_some(make_network) -> None:
    network = make_network()
    found = made(network)
    assert found is not None
    assert found.recorded == ()
    for one, expected in zip(found.references(network), running(network), strict=True):
        assert torch.equal(one.mean, expected.mean)
    assert found.thresholds.sizes == (32,)


def test_without_norms_the_moments_of_training_rows_are_recorded(make_network) -> None:
    network = make_network(norm="none")
    found = made(network)
    assert found is not None
    [first, _] = found.references(network)
    values = network[0](rows(500, 2)).double()
    torch.testing.assert_close(first.mean, values.mean(0), rtol=0, atol=1e-6)
    torch.testing.assert_close(first.variance, values.var(0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_it_survives_json_to_the_last_bit(make_network, norm: str) -> None:
    found = made(make_network(norm=norm))
    assert found is not None
    again = Calibration.from_json(json.loads(json.dumps(found.to_json())))
    assert again.thresholds == found.thresholds
    for one, other in zip(found.recorded, again.recorded, strict=True):
        assert (one.name, one.mean.tolist()) == (other.name, other.mean.tolist())
        assert one.variance.tolist() == other.variance.tolist()


def test_too_few_rows_leave_it_uncalibrated(make_network) -> None:
    found = made(make_network(), count=0)
    assert found is not None
    assert not found.thresholds.is_calibrated


def test_nothing_is_compared_with_statistics_that_are_not_finite(make_network) -> None:
    network = make_network()
    network[1].running_var[0] = torch.inf
    assert made(network) is None
