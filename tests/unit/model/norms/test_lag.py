import subprocess
import sys

import pytest
import torch
from torch import nn

from model.norms.lag import forecast, share_left, trustworthy_step, window


def share_in_torch(momentum, batches):
    """What is left of a starting mean of 1 when every batch has mean 0."""
    layer = nn.BatchNorm1d(1, momentum=momentum, dtype=torch.float64)
    layer.running_mean.fill_(1)
    for _ in range(batches):
        layer(torch.tensor([[-1.0], [1.0]], dtype=torch.float64))
    return float(layer.running_mean)


@pytest.mark.parametrize("momentum", [0.0, 0.001, 0.1, 0.5, 1.0, None])
@pytest.mark.parametrize("batches", [0, 1, 2, 300])
def test_the_share_is_what_torchs_running_mean_keeps(momentum, batches):
    expected = share_in_torch(momentum, batches)

    assert share_left(momentum, batches) == pytest.approx(expected, rel=1e-12, abs=1e-300)


def test_the_share_after_300_batches_at_momentum_one_thousandth():
    assert round(share_left(0.001, 300), 3) == 0.741


def test_a_tiny_momentum_is_not_rounded_away():
    assert share_left(1e-17, 10**17) == pytest.approx(0.36787944117144233)


@pytest.mark.parametrize(
    ("momentum", "step"),
    [(0.001, 2995), (0.01, 299), (0.1, 29), (0.2, 14), (0.5, 5), (0.96, 1), (1.0, 1), (None, 1)],
)
def test_the_first_trustworthy_step(momentum, step):
    assert trustworthy_step(momentum) == step
    assert share_left(momentum, step) <= 0.05
    assert share_left(momentum, step - 1) > 0.05


@pytest.mark.parametrize("momentum", [0.0, 5e-324, 1e-17])
def test_a_momentum_that_hardly_moves_is_never_trustworthy(momentum):
    assert trustworthy_step(momentum) is None
    assert not forecast(momentum, 10**7).is_reached


@pytest.mark.parametrize("momentum", [0.01, 0.1, 0.5, 1.0])
def test_the_window_is_the_plain_average_of_equal_variance(momentum):
    weights = [momentum * (1 - momentum) ** age for age in range(5000)]

    assert window(momentum, 7) == pytest.approx(1 / sum(one**2 for one in weights))


def test_a_cumulative_average_has_all_batches_for_its_window():
    assert window(None, 7) == 7


@pytest.mark.parametrize("momentum", [0.0, 5e-324])
def test_what_never_moves_has_no_window(momentum):
    assert window(momentum, 7) is None


@pytest.mark.parametrize(("steps", "is_reached"), [(28, False), (29, True)])
def test_a_forecast_says_whether_the_budget_reaches_it(steps, is_reached):
    told = forecast(0.1, steps)

    assert (told.trustworthy_step, told.is_reached) == (29, is_reached)
    assert told.share_at_end == pytest.approx(0.9**steps)


def test_it_needs_no_torch():
    script = "import sys, model.norms.lag; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
