import math

import pytest
import torch

from model.measures.numbers import layer_points, number, numbers, unit_lists
from model.measures.probe import Block
from model.measures.values import (
    by_unit,
    count_rows,
    evenly,
    leading,
    some_positions,
    sorted_values,
)


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(3, 5, [0, 1, 2]), (3, 3, [0, 1, 2]), (10, 4, [0, 2, 5, 7]), (1000, 1, [0]), (0, 3, [])],
)
def test_indices_are_evenly_spread_from_the_first_on(count, most, expected):
    assert evenly(count, most) == expected


def test_values_are_laid_out_unit_by_unit():
    x = torch.arange(24).view(2, 3, 2, 2)

    assert by_unit([some_positions(x, 2, 0)]).tolist() == [
        [0, 1, 2, 3, 12, 13, 14, 15],
        [4, 5, 6, 7, 16, 17, 18, 19],
        [8, 9, 10, 11, 20, 21, 22, 23],
    ]
    parts = torch.tensor([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    rows = [some_positions(one, 3, n) for n, one in enumerate(parts)]
    assert by_unit(rows).tolist() == [[1, 3, 5, 7], [2, 4, 6, 8]]


def test_every_row_is_kept_and_of_many_positions_some():
    x = torch.zeros(10, 3, 100)

    assert some_positions(x, 40, 0).shape == (10, 3, 100)
    assert some_positions(x, 500, 0).shape == (10, 3, 8)
    assert some_positions(x, 100_000, 0).shape == (10, 3, 1)
    assert some_positions(torch.zeros(10, 3), 100_000, 0).shape == (10, 3, 1)


@pytest.mark.parametrize("rows", [600, 2_000, 60_000])
def test_every_position_is_taken_about_as_often_as_any_other(rows):
    """Each of 64 is drawn for a 64th of the values, give or take five standard errors."""
    x = torch.arange(64).view(8, 8).expand(20, 1, 8, 8)  # a value is the place that it stands at

    parts = [some_positions(x, rows, block) for block in range(100)]

    taken = torch.cat(parts).flatten().bincount(minlength=64) / (2_000 * parts[0].shape[2])
    assert (taken * 64 - 1).abs().max() < 5 * (64 / 2_000) ** 0.5


def test_no_position_is_taken_twice_of_one_row_and_all_units_have_the_same():
    x = torch.arange(64).expand(20, 3, 64)

    found = some_positions(x, 600, 0)

    assert all(len(row.unique()) == len(row) == 6 for row in found[:, 0])
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[:, 0], found[:, 2])


def test_a_block_has_the_same_positions_whenever_it_is_asked_and_another_block_others():
    x, drawn = torch.arange(64).expand(20, 1, 64), torch.get_rng_state()

    assert torch.equal(some_positions(x, 2_000, 3), some_positions(x, 2_000, 3))
    assert not torch.equal(some_positions(x, 2_000, 3), some_positions(x, 2_000, 4))
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sorting_is_torchs_with_nan_last(dtype):
    x = torch.randn((5, 300), generator=torch.Generator().manual_seed(0)).to(dtype)
    x[2, 7] = math.nan

    found = sorted_values(x)

    assert torch.equal(found.nan_to_num(9e9), x.sort(1).values.nan_to_num(9e9))
    assert found.dtype == dtype


def blocks(*sizes):
    return tuple(Block(torch.zeros(size, 2), torch.zeros(size)) for size in sizes)


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [
        ((10,), 4, [4]),
        ((4,), 4, [4]),
        ((3, 3, 3), 7, [3, 3]),
        ((3, 3, 3), 100, [3, 3, 3]),
        ((3, 1), 4, [3, 1]),
    ],
)
def test_leading_rows_are_whole_blocks_but_of_a_large_first_one(sizes, most, expected):
    assert [len(one.inputs) for one in leading(blocks(*sizes), most)] == expected
    assert [len(one.targets) for one in leading(blocks(*sizes), most)] == expected


def test_rows_are_counted_over_all_blocks():
    assert count_rows(blocks(3, 4)) == 7


def test_numbers_are_short_and_null_where_not_finite():
    values = torch.tensor([0.1, 1 / 3, math.nan, math.inf, -math.inf, 1e-30])

    assert numbers(values) == [0.1, 0.333333, None, None, None, 1e-30]
    assert number(torch.tensor(2.0)) == 2
    assert number(math.nan) is None


def test_points_of_all_layers_of_a_kind_come_before_the_next_kind():
    kinds = {"size": abs, "half": lambda one: one / 2 if one > 0 else None}

    found = layer_points("measure", kinds, [(1, -4.0), (2, 6.0)])

    assert list(found.items()) == [
        ("measure.size.1", 4.0),
        ("measure.size.2", 6.0),
        ("measure.half.2", 3.0),
    ]


def test_all_units_are_told_of_where_they_fit_and_else_some():
    lists = {"a": torch.arange(10.0), "b": torch.arange(10.0) + 10}

    every = unit_lists(lists, layers=2)
    some = unit_lists(lists, layers=2, most=16)

    assert every == {
        "units": 10,
        "shown_units": None,
        "a": list(range(10)),
        "b": list(range(10, 20)),
    }
    assert some == {
        "units": 10,
        "shown_units": [0, 2, 5, 7],
        "a": [0, 2, 5, 7],
        "b": [10, 12, 15, 17],
    }
