"""The losses of the best maps of low rank, against the map itself."""

import numpy as np
import pytest
import torch

from model.figures.charts import Curve
from model.lab.rank_levels import guides, rank_levels


def rows(noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn((50, 4), generator=draw, dtype=torch.float64)
    a = torch.randn((4, 3), generator=draw, dtype=torch.float64)
    return x, x @ a + noise * torch.randn((50, 3), generator=draw, dtype=torch.float64)


def test_rank_0_answers_nothing_and_full_rank_is_least_squares() -> None:
    x, y = rows(0.3)
    levels = rank_levels(x, y)
    assert len(levels) == 4
    assert levels[0] == pytest.approx(float(y.square().sum()) / 2)
    left = y - x @ torch.linalg.lstsq(x, y).solution
    assert levels[-1] == pytest.approx(float(left.square().sum()) / 2)


@pytest.mark.parametrize("rank", [1, 2])
def test_no_trained_map_of_a_rank_is_below_its_level(rank: int) -> None:
    x, y = rows(0.3)
    draw = torch.Generator().manual_seed(1)
    factors = [
        torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_()
        for shape in ((4, rank), (rank, 3))
    ]
    optimizer = torch.optim.Adam(factors, lr=0.05)
    for _ in range(1_500):
        loss = (y - x @ factors[0] @ factors[1]).square().sum() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(rank_levels(x, y)[rank], rel=1e-6)


def test_images_are_flattened_and_nothing_is_left_without_noise() -> None:
    x, y = rows(0.0)
    assert rank_levels(x.view(50, 1, 2, 2), y) == pytest.approx(rank_levels(x, y))
    assert rank_levels(x, y)[-1] == pytest.approx(0, abs=1e-20)


def test_guides_are_the_lowest_levels_that_losses_came_near_to() -> None:
    curve = Curve("batch", [0, 1, 2], [100.0, np.nan, 4.0], "batch")
    levels = [200.0, 90.0, 50.0, 20.0, 5.0, 3.0, 1.0, 0.0]
    assert [one.label for one in guides(levels, [curve])] == [
        f"best map of rank {rank}" for rank in (2, 3, 4, 5)
    ]
    assert guides(levels, []) == ()
