from pathlib import Path

import numpy as np
import pytest

from model.data.csv_file import read
from model.data.dataset import Dataset
from model.data.options import Limits, ReadOptions
from model.errors import DatasetInvalid, DatasetTooLarge


@pytest.fixture
def csv(tmp_path: Path):
    def reads(text: str | bytes, target: str | None = "y", **limits: int) -> Dataset:
        path = tmp_path / "rows.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read(path, ReadOptions(target=target, limits=Limits(**limits)))

    return reads


def test_every_column_but_the_target_is_a_feature_in_the_files_order(csv):
    dataset = csv("b,y,a\n1,no,2\n3,yes,4\n5,no,6\n")
    assert dataset.inputs.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert dataset.targets.tolist() == [0, 1, 0]
    assert dataset.facts.classes == ("no", "yes")
    assert not dataset.facts.images


@pytest.mark.parametrize(
    ("cells", "classes", "targets"),
    [
        (["10", "9", "-1"], ("-1", "9", "10"), [2, 1, 0]),  # integers: in numerical order
        (["b", "a", "10"], ("10", "a", "b"), [2, 1, 0]),  # text: by code points
        (["B", "a", "É"], ("B", "a", "É"), [0, 1, 2]),
        ([" 3", "4 ", "3"], ("3", "4"), [0, 1, 0]),
        (['"a,b"', "c", '"d ""e"""'], ("a,b", "c", 'd "e"'), [0, 1, 2]),
        (['5" pipe', '"a"b"', "c"], ('5" pipe', 'ab"', "c"), [0, 1, 2]),
        (["=cmd()", "+1+1", "@x"], ("+1+1", "=cmd()", "@x"), [1, 0, 2]),
        (["1", "2", "x"], ("1", "2", "x"), [0, 1, 2]),
    ],
)
def test_integers_and_text_are_classes(csv, cells, classes, targets):
    dataset = csv("x,y\n" + "".join(f"0,{cell}\n" for cell in cells))
    assert dataset.facts.classes == classes
    assert dataset.targets.tolist() == targets
    assert dataset.targets.dtype == np.int64


def test_decimals_are_a_regression(csv):
    dataset = csv("x,y\n1,0.1\n2,2\n3,-1e3\n")
    assert (dataset.facts.task, dataset.facts.outputs) == ("regression", 1)
    assert dataset.targets.tolist() == [[0.1], [2.0], [-1000.0]]
    assert dataset.targets.dtype == np.float64


def test_numbers_that_float32_holds_exactly_are_float32_and_others_float64(csv):
    assert csv("x,y\n0.5,a\n3,b\n").inputs.dtype == np.float32
    precise = csv("x,y\n0.1,a\n3,b\n")
    assert precise.inputs.dtype == np.float64
    assert precise.inputs[0, 0] == 0.1


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfx,y\n1,a\n2,b\n",
        b"x,y\r\n1,a\r\n2,b\r\n",
        b"x,y\r1,a\r2,b",
        b"x,y\n\n1,a\n\n2,b",
        b" x , y \n 1 , a \n 2 , b \n",
        b'"x","y"\n"1","a"\n"2","b"\n',
    ],
)
def test_bom_line_ends_empty_lines_spaces_and_quotes_do_not_matter(csv, text):
    dataset = csv(text)
    assert dataset.inputs.tolist() == [[1], [2]]
    assert dataset.facts.classes == ("a", "b")


def test_a_constant_column_is_a_feature(csv):
    assert csv("c,y\n7,a\n7,b\n").inputs.tolist() == [[7], [7]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,a\nfoo,b\n", "row 2, column 'x': a number is expected; this cell is text"),
        ("x,y\n1,a\n,b\n", "row 2, column 'x': a number is expected; this cell is empty"),
        ("u,x,y\n0,1,a\n0,1_0,b\n", "row 2, column 'x': a number is expected; this cell is text"),
        ("x,y\n1,a\nNaN,b\n", "row 2, column 'x': the number is not finite"),
        ("x,y\n1,a\n2,b\n-inf,b\n", "row 3, column 'x': the number is not finite"),
        ("x,y\n1,a\n1e999,b\n", "row 2, column 'x': the number is not finite"),
        ("x,y\n1,a\n1e39,b\n", "row 2, column 'x': the number is beyond 1e38"),
        ("x,y\nnan,a\nnan,b\n", "row 1, column 'x': the number is not finite"),
        ("x,y\n1,0.5\n2,nan\n", "row 2, column 'y': the number is not finite"),
        ("x,y\n1,a\n2,\n", "row 2, column 'y': the cell is empty"),
        ("x,y\n1,a\n2, \n", "row 2, column 'y': the cell is empty"),
        ("x,y\n1,a\n2\n", "row 2: 1 cells, the header has 2 columns"),
        ("x,y\n1,a\n\n2,b,c\n", "row 2: 3 cells, the header has 2 columns"),
        ("x,x,y\n1,2,a\n", "columns 1 and 2 are both called 'x'"),
        ("x,,y\n1,2,a\n", "column 2 has no name"),
        ("x,z\n1,a\n", "no column 'y'; the columns are 'x', 'z'"),
        ("y\na\n", "found 1"),
        ("x;y\n1;a\n", "found 1"),
        ("", "found 0"),
        ("\nx,y\n1,a\n", "found 0"),
        ('"x,y\n1,a\n', "line 1: the header is no line of CSV"),
        ("x,y\n", "no rows of CSV below the header|at least 2 rows, this one has 0"),
        ("x,y", "no rows of CSV below the header"),
        ("x,y\n1,a\n", "a dataset needs at least 2 rows, this one has 1"),
        ("x,y\n1,a\n2,a\n", "all targets are one class; two are needed"),
        ('x,y\n1,a\n2,"b\n3,c\n', "line 3: a quote opens in this row and is not closed"),
        ('x,y\n1,a\n"2,b\n3,c\n', "line 3: a quote opens"),
        ('x,y\n1,a\n2,"b', "line 3: a quote opens"),
        ('x,y\n1,a\n2,b\n"', "line 4: a quote opens"),
        ('x,y\r\n1,"a"\r\n\r\n2,"b""\r\n', "line 4: a quote opens"),
        ('x,y\n1,5" pipe\n2,"b\n3,c\n', "line 3: a quote opens"),
        ('x,y\n1,a\n2,"b\nc"\n', r"class 'b\\nc': control"),
        ("x,y\n1,a\n2," + "b" * 201 + "\n", "a name has 1 to 200 visible characters"),
        ("x,y\n1,a\n2,\u202eb\n", r"class '\\u202eb': control"),
        (b"x,y\n1,a\n2,\0\n", "line 3: a NUL byte"),
        (b"x,y\n1,a\n2,caf\xe9\n3,b\n", "line 3: not UTF-8"),
        (b"x,y\n1,a\n2,\xc3", "line 3: not UTF-8"),
        ("x,y\n1,a\n2,b\n".encode("utf-16"), "line 1: "),
    ],
)
def test_a_bad_file_is_refused_with_the_place_at_fault(csv, text, message):
    with pytest.raises(DatasetInvalid, match=message):
        csv(text)


def test_a_refusal_does_not_repeat_the_cell(csv):
    with pytest.raises(DatasetInvalid) as refused:
        csv("x,y\n1,a\nsecret,b\n")
    assert "secret" not in refused.value.message
    assert refused.value.metadata == {"row": 2, "column": "x"}


def test_a_target_must_be_named(csv):
    with pytest.raises(DatasetInvalid, match="no target column is given; the columns are 'x', 'y'"):
        csv("x,y\n1,a\n2,b\n", target=None)


def test_long_and_strange_names_are_shown_short_and_escaped(csv):
    name = "\x1b[31m" + "n" * 100
    with pytest.raises(DatasetInvalid) as refused:
        csv(f"{name},y\nfoo,a\n")
    assert refused.value.metadata["column"] == "\\x1b[31m" + "n" * 52 + "..."


def test_rows_are_counted_over_the_blocks_that_are_read(csv):
    good = "1,a\n2,b\n" * 2_000
    for bad, message in (("foo,a\n", "row 4001, column 'x'"), ("1,a,b\n", "row 4001: 3 cells")):
        with pytest.raises(DatasetInvalid, match=message):
            csv("x,y\n" + good + bad + good, max_line_bytes=100)
    assert csv("x,y\n" + good, max_line_bytes=100).facts.rows == 4_000


def test_a_character_cut_by_a_block_is_whole(csv):
    text = "x,y\n" + "1,é\n2,ü\n" * 200_000  # more than a block of bytes, 5 bytes a line
    assert csv(text).facts.classes == ("é", "ü")


@pytest.mark.parametrize(
    ("limits", "unit"),
    [
        ({"max_rows": 3}, "rows"),
        ({"max_table_columns": 2}, "columns"),
        ({"max_values": 7}, "numbers"),
        ({"max_bytes": 63}, "bytes"),
        ({"max_classes": 3}, "classes"),
        ({"max_line_bytes": 4}, "bytes a line"),
    ],
)
def test_each_limit_is_said_with_its_unit(csv, limits, unit):
    text = "u,x,y\n" + "".join(f"0,1,{row}\n" for row in range(4))
    assert csv(text).facts.rows == 4
    with pytest.raises(DatasetTooLarge) as refused:
        csv(text, **limits)
    assert refused.value.metadata["unit"] == unit
    assert refused.value.metadata["limit"] == next(iter(limits.values()))


def test_a_file_at_its_limits_is_read(csv):
    text = "u,x,y\n" + "".join(f"0,1,{row}\n" for row in range(4))
    limits = {"max_rows": 4, "max_table_columns": 3, "max_values": 8, "max_bytes": 64}
    assert csv(text, **limits, max_classes=4, max_line_bytes=5).facts.rows == 4
