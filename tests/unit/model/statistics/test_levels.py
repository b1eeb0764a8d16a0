import pytest
import torch
from torch import nn

from model.networks.residual import Residual
from model.norms.batch import BatchNorm
from model.spec import BatchNorm as Convention
from model.statistics.levels import norm_levels
from model.statistics.population import precise


def norm(channels=4):
    return BatchNorm(channels, Convention(kind="batch"))


def linear():
    return nn.Linear(4, 4)


def block(short_cut=True):
    branch = nn.Sequential(linear(), norm(), nn.ReLU(inplace=True), linear(), norm())
    return Residual(branch, nn.Sequential(linear(), norm()) if short_cut else None)


@pytest.fixture
def rows():
    return torch.randn(50, 4, generator=torch.Generator().manual_seed(0))


def test_layers_in_a_row_have_a_level_each(rows):
    network = nn.Sequential(linear(), norm(), nn.Tanh(), norm(), linear(), norm())

    assert norm_levels(network, rows) == (("1",), ("3",), ("5",))


def test_a_norm_on_the_short_cut_shares_the_level_of_the_branch_s_first(rows):
    network = nn.Sequential(norm(), block(), nn.ReLU(), block())

    assert [set(level) for level in norm_levels(network, rows)] == [
        {"0"},
        {"1.branch.1", "1.projection.1"},
        {"1.branch.4"},
        {"3.branch.1", "3.projection.1"},
        {"3.branch.4"},
    ]


def test_a_short_cut_without_a_norm_passes_what_came_before_it(rows):
    network = nn.Sequential(norm(), block(short_cut=False), norm())

    assert norm_levels(network, rows) == (("0",), ("1.branch.1",), ("1.branch.4",), ("2",))


def test_a_path_whose_derivative_is_zero_is_a_path(rows):
    network = nn.Sequential(norm(), nn.ReLU(inplace=True), norm())
    nn.init.constant_(network[0].bias, -1e6)  # every unit is dead

    assert norm_levels(network, rows) == (("0",), ("2",))


def test_a_layer_that_does_not_run_has_no_level(rows):
    class HalfUsed(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = norm(), norm()

        def forward(self, x):
            return self.used(x)

    assert norm_levels(HalfUsed(), rows) == (("used",),)


def test_a_network_without_norms_has_no_level(rows):
    assert norm_levels(linear(), rows) == ()


def test_levels_are_found_inside_inference_mode(rows):
    with torch.inference_mode():
        network = nn.Sequential(norm(), norm()).requires_grad_(False)

        assert norm_levels(network, rows[:8] * 1) == (("0",), ("1",))


def test_layers_of_one_level_share_a_pass_over_the_rows(rows):
    network, passes = nn.Sequential(norm(), block()), []
    network[0].register_forward_hook(lambda *_: passes.append(1))

    found = precise(network, rows.split(10))

    assert len(found) == 4
    # The first norm's own pass ends before it runs: two levels behind it, five batches each,
    # and one pass of a few rows.
    assert len(passes) == 2 * 5 + 1
