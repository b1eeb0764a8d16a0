import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from model.measures.objective import Objective, objective
from model.measures.plane import plane_through, window
from model.measures.probe import Block
from model.measures.shadow import moment


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def points():
    return [100 * draw(50, seed=seed) for seed in (1, 2, 3)]


@pytest.fixture
def plane(points):
    return plane_through(*points)


def test_directions_have_length_one_and_a_right_angle(plane):
    assert plane.first.norm().item() == pytest.approx(1, rel=1e-14)
    assert plane.second.norm().item() == pytest.approx(1, rel=1e-14)
    assert (plane.first @ plane.second).item() == pytest.approx(0, abs=1e-15)


def test_the_three_points_are_in_it_and_are_found_again(plane, points):
    seen = plane.project(points)

    for point, x, y, off in zip(points, seen.x, seen.y, seen.off, strict=True):
        torch.testing.assert_close(plane.at(x, y), point, rtol=1e-12, atol=1e-11)
        assert off == pytest.approx(0, abs=1e-13)
    assert sum(seen.x) == pytest.approx(0, abs=1e-11)  # the origin is their mean
    assert sum(seen.y) == pytest.approx(0, abs=1e-11)


def test_distances_in_it_are_those_between_the_points(plane, points):
    seen = plane.project(points)

    for i, j in ((0, 1), (0, 2), (1, 2)):
        apart = math.hypot(seen.x[i] - seen.x[j], seen.y[i] - seen.y[j])
        assert apart == pytest.approx((points[i] - points[j]).norm().item(), rel=1e-12)
    assert seen.y[0] == pytest.approx(seen.y[1], abs=1e-11)  # b - a is its first direction
    assert seen.x[1] > seen.x[0]


def test_a_point_above_falls_on_the_point_under_it_and_says_how_far_off_it_is(plane):
    up = draw(50, seed=4)
    up -= (up @ plane.first) * plane.first + (up @ plane.second) * plane.second
    up /= up.norm()

    seen = plane.project([plane.at(3, 0) + 4 * up, plane.origin + up, plane.origin])

    assert seen.x == pytest.approx((3, 0, 0), abs=1e-12)
    assert seen.y == pytest.approx((0, 0, 0), abs=1e-12)
    assert seen.off == pytest.approx((0.8, 1, 0), abs=1e-12)


def test_points_in_float32_are_found_to_their_own_precision(points):
    points = [point.float() for point in points]
    plane = plane_through(*points)

    seen = plane.project(points)

    for point, x, y in zip(points, seen.x, seen.y, strict=True):
        assert torch.equal(plane.at(x, y).float(), point)


def test_no_path_is_no_points(plane):
    seen = plane.project([])

    assert (seen.x, seen.y, seen.off) == ((), (), ())


@pytest.mark.parametrize("last", [0.5, 1.0, 0.0, math.nan, math.inf])
def test_three_points_on_a_line_span_no_plane(last):
    a, b = draw(50, seed=1), draw(50, seed=2)

    with pytest.raises(ValueError, match="span no plane"):
        plane_through(a, b, a + last * (b - a))
    with pytest.raises(ValueError, match="span no plane"):
        plane_through(a, a, b)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))


def vector(network):
    return nn.utils.parameters_to_vector(network.parameters()).detach()


@pytest.mark.parametrize("statistics", ["recomputed", "held"])
def test_losses_over_it_are_those_of_networks_put_there(statistics):
    own = network()
    block = Block(draw(20, 4).float(), torch.arange(20) % 3)
    start = objective(moment(own, 0, block, (), 0.1), functional.cross_entropy)
    at = Objective(start.network, start.loss, block, start.again, statistics)
    ends = [vector(own) + draw(len(at.here), seed=seed).float() for seed in (1, 2, 3)]
    plane = plane_through(*ends)
    kept, state = copy.deepcopy(at.network), torch.get_rng_state()

    losses = plane.losses(at, [-1.0, 0.0, 2.0], [0.5, 1.5])

    assert [len(row) for row in losses] == [3, 3]
    for y, row in zip([0.5, 1.5], losses, strict=True):
        for x, loss in zip([-1.0, 0.0, 2.0], row, strict=True):
            there = copy.deepcopy(kept).train(statistics == "recomputed")
            nn.utils.vector_to_parameters(plane.at(x, y).float(), there.parameters())
            wanted = functional.cross_entropy(there(block.inputs), block.targets).item()
            assert loss == pytest.approx(wanted, rel=1e-6)
    tensors = at.network.state_dict()
    assert all(torch.equal(tensors[name], value) for name, value in kept.state_dict().items())
    assert all(module.training for module in at.network.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_window_holds_every_point_with_a_margin(plane, points):
    seen = plane.project(points)

    x, y = window([seen], 25, margin=0.1)

    assert (len(x), len(y)) == (25, 25)
    extent = max(max(seen.x) - min(seen.x), max(seen.y) - min(seen.y))
    assert x[0] == pytest.approx(min(seen.x) - 0.1 * extent)
    assert y[-1] == pytest.approx(max(seen.y) + 0.1 * extent)
    with pytest.raises(ValueError, match="no extent"):
        window([plane.project([points[0]])], 25)
