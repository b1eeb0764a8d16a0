from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from model.data.dataset import Dataset
from model.data.options import Limits, ReadOptions
from model.data.parquet_file import read
from model.errors import DatasetInvalid, DatasetTooLarge


@pytest.fixture
def parquet(tmp_path: Path):
    def reads(columns: dict[str, object], target: str | None = "y", **limits: int) -> Dataset:
        path = tmp_path / "rows.parquet"
        pa.parquet.write_table(pa.table(columns), path)
        return read(path, ReadOptions(target=target, limits=Limits(**limits)))

    return reads


def test_numbers_of_every_type_are_features(parquet):
    dataset = parquet(
        {
            "int": pa.array([1, -2], pa.int64()),
            "byte": pa.array([0, 255], pa.uint8()),
            "flag": [True, False],
            "half": pa.array(np.array([0.5, 2], np.float16)),
            "single": pa.array([0.1, 2], pa.float32()),
            "decimal": [Decimal("1.25"), Decimal("-3.5")],
            "code": pa.array([7, 8]).dictionary_encode(),
            "y": ["a", "b"],
        }
    )
    np.testing.assert_array_equal(
        dataset.inputs, [[1, 0, 1, 0.5, np.float32(0.1), 1.25, 7], [-2, 255, 0, 2, 2, -3.5, 8]]
    )
    assert dataset.inputs.dtype == np.float32


def test_doubles_stay_doubles(parquet):
    assert parquet({"x": [0.1, 0.2], "y": ["a", "b"]}).inputs.dtype == np.float64


@pytest.mark.parametrize(
    ("targets", "classes", "values"),
    [
        (pa.array([10, 9, 10]), ("9", "10"), [1, 0, 1]),
        (pa.array([2**64 - 1, 0, 1], pa.uint64()), ("0", "1", str(2**64 - 1)), [2, 0, 1]),
        (pa.array([True, False, True]), ("False", "True"), [1, 0, 1]),
        (pa.array(["b", "a", "b"]), ("a", "b"), [1, 0, 1]),
        (pa.array(["10", "9", "9"], pa.large_string()), ("10", "9"), [0, 1, 1]),
        (pa.array(["b", "a", "b"]).dictionary_encode(), ("a", "b"), [1, 0, 1]),
        (pa.array([0.5, 1.0, 2.0]), None, [[0.5], [1.0], [2.0]]),
        (pa.array([Decimal("0.5")] * 3), None, [[0.5]] * 3),
    ],
)
def test_the_targets_type_decides_the_task(parquet, targets, classes, values):
    dataset = parquet({"x": [1.0, 2.0, 3.0], "y": targets})
    assert dataset.facts.classes == classes
    assert dataset.targets.tolist() == values


def test_classes_over_several_row_groups_are_one_set(tmp_path):
    path = tmp_path / "rows.parquet"
    table = pa.table({"x": np.arange(1_000.0), "y": [str(row % 7) for row in range(1_000)]})
    pa.parquet.write_table(table, path, row_group_size=64)
    dataset = read(path, ReadOptions(target="y"))
    assert dataset.facts.classes == tuple("0123456")
    np.testing.assert_array_equal(dataset.targets, np.arange(1_000) % 7)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": ["a", "b"], "y": [0, 1]}, "column 'x' holds string, not numbers"),
        ({"x": [[1], [2]], "y": [0, 1]}, "column 'x' holds list"),
        ({"x": [date(2026, 1, 1)] * 2, "y": [0, 1]}, "column 'x' holds date32"),
        ({"x": [1, 2], "y": [b"a", b"b"]}, "column 'y' holds binary, not numbers or text"),
        ({"x": [1.0, None], "y": [0, 1]}, "row 2, column 'x': the cell is empty"),
        ({"x": [1.0, 2.0], "y": ["a", None]}, "row 2, column 'y': the cell is empty"),
        ({"x": [1.0, np.nan], "y": [0, 1]}, "row 2, column 'x': the number is not finite"),
        ({"x": [1.0, 2.0], "y": [0.5, np.inf]}, "row 2, column 'y': the number is not finite"),
        ({"x": [1.0, 2.0], "z": [0, 1]}, "no column 'y'; the columns are 'x', 'z'"),
        ({"y": [0, 1]}, "found 1"),
        ({"x": [1.0], "y": [0]}, "at least 2 rows"),
        ({"x": pa.array([], pa.int64()), "y": pa.array([], pa.string())}, "this one has 0"),
        ({"x": [1.0, 2.0], "y": [3, 3]}, "all targets are one class"),
    ],
)
def test_a_bad_table_is_refused_with_the_place_at_fault(parquet, columns, message):
    with pytest.raises(DatasetInvalid, match=message):
        parquet(columns)


def test_two_columns_of_one_name_are_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array([1, 2])] * 3, names=["x", "x", "y"])
    pa.parquet.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(DatasetInvalid, match="columns 1 and 2 are both called 'x'"):
        read(tmp_path / "rows.parquet", ReadOptions(target="y"))


@pytest.mark.parametrize(
    ("limits", "unit"),
    [
        ({"max_rows": 99}, "rows"),
        ({"max_table_columns": 2}, "columns"),
        ({"max_values": 299}, "numbers"),
        ({"max_bytes": 2_399}, "bytes"),
        ({"max_classes": 3}, "classes"),
    ],
)
def test_each_limit_is_said_with_its_unit(parquet, limits, unit):
    columns = {"u": np.zeros(100), "x": np.zeros(100), "y": np.arange(100) % 4}
    with pytest.raises(DatasetTooLarge) as refused:
        parquet(columns, **limits)
    assert refused.value.metadata["unit"] == unit


def test_a_long_text_in_every_row_is_never_repeated_in_memory(tmp_path):
    before = pa.total_allocated_bytes()
    repeated = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * 100_000])
    )
    table = pa.table({"x": np.zeros(100_000), "y": repeated})  # 10 GB once decoded
    pa.parquet.write_table(table, tmp_path / "rows.parquet")
    del table, repeated
    assert (tmp_path / "rows.parquet").stat().st_size < 1_000_000
    with pytest.raises(DatasetInvalid, match="one class"):
        read(tmp_path / "rows.parquet", ReadOptions(target="y"))
    assert pa.total_allocated_bytes() - before < 10_000_000


def test_every_cut_or_damaged_file_is_refused_or_read(tmp_path):
    path = tmp_path / "rows.parquet"
    pa.parquet.write_table(pa.table({"x": np.arange(50.0), "y": np.arange(50) % 3}), path)
    whole = path.read_bytes()
    damages = [whole[:cut] for cut in range(0, len(whole), 97)]
    for place in range(0, len(whole), 7):
        damages.append(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
    refused = 0
    for damaged in damages:
        path.write_bytes(damaged)
        try:
            read(path, ReadOptions(target="y"))
        except DatasetInvalid:
            refused += 1
    assert refused > len(damages) / 2


def test_what_the_footer_says_to_unpack_is_bounded(parquet):
    columns = {"x": np.arange(10.0), "y": [str(row % 2) * 200 for row in range(10)]}
    assert parquet(columns).facts.rows == 10
    with pytest.raises(DatasetTooLarge, match="bytes unpacked, at most 300 are accepted"):
        parquet(columns, max_bytes=300)


def test_a_footer_that_counts_other_rows_than_its_groups_is_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    pa.parquet.write_table(pa.table({"x": np.arange(50.0), "y": np.arange(50) % 3}), path)
    whole = path.read_bytes()
    footer = whole[-int.from_bytes(whole[-8:-4], "little") - 8 :]
    counted = footer.rindex(b"\x16\x64")  # 50 as a number of Thrift's compact form
    more = footer[: counted + 1] + b"\x66" + footer[counted + 2 :]
    path.write_bytes(whole[: -len(footer)] + more)
    with pytest.raises(DatasetInvalid, match="row groups do not add up to its rows"):
        read(path, ReadOptions(target="y"))


def test_a_footer_longer_than_the_file_is_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1" + b"\xff\xff\xff\x7f" + b"PAR1")
    with pytest.raises(DatasetInvalid, match="not a Parquet file"):
        read(path, ReadOptions(target="y"))


def test_a_missing_file_is_no_bad_dataset(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.parquet", ReadOptions(target="y"))
