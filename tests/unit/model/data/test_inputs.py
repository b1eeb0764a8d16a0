import numpy as np
import pytest

from model.data.inputs import check_finite, check_size, count_indices, narrowed, shown
from model.data.options import Limits
from model.errors import DatasetInvalid, DatasetTooLarge


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        (np.array([0.5, 2.0**100, -(2.0**-100)]), np.float32),
        (np.array([0.1]), np.float64),
        (np.array([2**24]), np.float32),
        (np.array([2**24 + 1]), np.float64),
        (np.array([2.0**-1074]), np.float64),
        (np.array([65504], np.float16), np.float32),
        (np.array([2**63 + 1], np.uint64), np.float32),  # rounded to 2**63 on the way
        (np.array([2**53 + 2**20]), np.float64),
    ],
)
def test_numbers_take_the_smallest_type_that_holds_each_of_them(values, stored):
    result = narrowed(values)
    assert result.dtype == stored
    np.testing.assert_array_equal(result, values.astype(np.float64))


def test_one_long_number_among_a_million_keeps_all_in_float64():
    values = np.zeros(1_500_000)
    values[-1] = 0.1
    assert narrowed(values).dtype == np.float64


def test_the_first_bad_number_is_named_over_blocks(monkeypatch):
    monkeypatch.setattr("model.data.inputs._BLOCK_VALUES", 6)
    values = np.zeros((10, 3))
    values[7, 2] = np.nan
    values[8, 0] = np.inf
    with pytest.raises(DatasetInvalid, match="row 8, column 'c': the number is not finite"):
        check_finite(values, ["a", "b", "c"])
    with pytest.raises(DatasetInvalid, match="row 8, column 3: the number is not finite"):
        check_finite(values)


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.float16, np.float32, bool])
def test_extremes_of_small_types_are_finite(dtype):
    is_float = np.issubdtype(dtype, np.floating)
    extreme = 1e38 if dtype is np.float32 else np.finfo(dtype).max if is_float else None
    values = [extreme] if is_float else [False, True] if dtype is bool else _ends(dtype)
    check_finite(np.array(values, dtype)[:, None])


def _ends(dtype: type) -> list[int]:
    return [int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)]


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ([[0.0, 3.0], [1.0, 2.0]], 4),
        ([[0.0]], 1),
        ([[0.0, 0.5]], 0),
        ([[-1.0, 3.0]], 0),
        ([[-0.0, 1.0]], 2),
        ([[2.0**31 - 1]], 2**31),
        ([[2.0**31]], 0),
        ([[1e38]], 0),
    ],
)
def test_whole_numbers_from_0_are_counted_as_indices(values, count):
    for dtype in (np.float64, np.int64) if values[0][0] < 1e18 else (np.float64,):
        numbers = np.array(values, dtype)
        if np.array_equal(numbers, values):
            assert count_indices(numbers) == count


def test_the_largest_index_is_found_over_blocks(monkeypatch):
    monkeypatch.setattr("model.data.inputs._BLOCK_VALUES", 4)
    numbers = np.array([[1, 9], [2, 3], [4, 5], [6, 7]], np.uint8)
    assert count_indices(numbers) == 10
    assert count_indices(np.concatenate([numbers, [[0.5, 1]]])) == 0


def test_sizes_are_multiplied_without_overflow():
    limits = Limits(max_rows=2**40, max_columns=2**40)
    with pytest.raises(DatasetTooLarge, match=f"{2**64} numbers, at most"):
        check_size(2**32, 2**32, 8, limits)
    check_size(2**14, 2**14, 8, limits)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain name", "plain name"),
        ("größe 猫", "größe 猫"),
        ("a\nb\x1b[31m\0", "a\\nb\\x1b[31m\\x00"),
        ("\u202eevil\ud800", "\\u202eevil\\ud800"),
        ("x" * 61, "x" * 57 + "..."),
        ("x" * 60, "x" * 60),
    ],
)
def test_names_in_messages_are_short_and_printable(name, text):
    assert shown(name) == text
