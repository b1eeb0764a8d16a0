from pathlib import Path
from typing import Any

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


def test_the_context_of_a_text_is_sent_in_the_query(tmp_path: Path, play: Any, answer: Any) -> None:
    words = tmp_path / "names.txt"
    words.write_text("emma\nolivia\n")
    made = {
        **{"id": "ds_1", "object": "dataset", "created_at": "2026-01-01T00:00:00Z"},
        **{"name": "names", "rows": 12, "input_shape": [8], "classes": None},
        **{"task": "classification", "fingerprint": "sha256:0"},
    }
    played = play(upload(words, format="text", context=8), answer(made, 201))
    (request,) = played.requests
    assert request.query == {"name": "names", "format": "text", "context": "8"}
    assert request.files == {"file": words}
    assert played.value.input_shape == (8,)


def test_a_name_that_tells_no_format_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match=r"notes\.txt does not tell its format"):
        upload("notes.txt")
