from pathlib import Path

import pytest

from evalmode.datasets import format_of, upload


@pytest.mark.parametrize(
    ("name", "format_name"),
    [
        ("table.csv", "csv"),
        ("table.parquet", "parquet"),
        ("arrays.npz", "npz"),
        ("pictures.zip", "image_zip"),
        ("train-images-idx3-ubyte.gz", "idx"),
        ("train-images-idx3-ubyte", "idx"),
    ],
)
def test_the_format_is_read_off_the_name(name: str, format_name: str) -> None:
    assert format_of(Path(name)) == format_name


def test_a_name_that_tells_no_format_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match=r"notes\.txt does not tell its format"):
        upload("notes.txt")
