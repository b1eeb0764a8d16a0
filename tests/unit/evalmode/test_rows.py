from pathlib import Path

import numpy as np
import pytest

from evalmode.rows import RowsUnreadable, check_file, media_type, read_rows


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", "1,2.5\n3,4\n"),
        ("rows.csv", "\ufeffa,b\n1,2.5\n3,4\n"),
        ("rows.json", "[[1, 2.5], [3, 4]]"),
        ("rows.JSON", '{"inputs": [[1, 2.5], [3, 4]]}'),
    ],
)
def test_rows_are_read_from_every_text_form(name: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(read_rows(file), [[1, 2.5], [3, 4]])


def test_a_single_line_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1,2\n")
    assert read_rows(tmp_path / "rows.csv").shape == (1, 2)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows.csv", "1,2\n3,x\n", "no rows of numbers"),
        ("rows.json", '{"rows": []}', "no rows of numbers"),
        ("rows.json", "[[1], [2, 3]]", "no rows of numbers"),
        ("rows.txt", "1", "unknown kind"),
        ("rows.csv", "", "no rows of numbers: there are none"),
        ("rows.csv", "a,b\n\n", "no rows of numbers: there are none"),
        ("rows.json", "5", "no rows of numbers: there are none"),
        ("rows.json", "[]", "no rows of numbers: there are none"),
        ("rows.json", "{}", "no 'inputs' in it"),
        ("rows.json", "[" * 100_000, "no rows of numbers"),
        ("rows.json", f"[[{10**400}]]", "no rows of numbers"),
    ],
)
def test_what_holds_no_rows_is_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(RowsUnreadable, match=message):
        read_rows(tmp_path / name)


def test_what_the_service_reads_itself_is_sent_as_it_is() -> None:
    assert media_type(Path("digit.PNG")) == "image/png"
    assert media_type(Path("rows.npy")) == "application/x-npy"
    assert media_type(Path("rows.csv")) is None


def test_a_number_beyond_float32_is_left_to_the_service_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("1e39\n")
    assert np.isinf(read_rows(tmp_path / "rows.csv")).all()


def test_a_file_that_is_none_is_told_apart(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "absent.npy", "no file .*absent.npy"),
        (tmp_path, "is no file"),
        (Path("/dev/zero"), "is no file"),
        (Path("nul\0.npy"), "no file|cannot be read"),
        (tmp_path / ("x" * 300 + ".npy"), "no file|cannot be read"),
    ):
        with pytest.raises(RowsUnreadable, match=message):
            check_file(path)
