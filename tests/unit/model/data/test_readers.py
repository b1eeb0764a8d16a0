import pytest

from model.data.dataset import load, save
from model.data.options import ReadOptions
from model.data.readers import FORMATS, read
from model.errors import DatasetInvalid


def test_what_is_read_can_be_saved_and_mapped_back(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n0.1,b\n2,a\n")
    dataset = read("csv", path, ReadOptions(target="y"))
    save(dataset, tmp_path)
    loaded = load(tmp_path)
    assert loaded.facts == dataset.facts
    assert loaded.inputs.tolist() == [[0.1], [2.0]]
    assert loaded.targets.tolist() == [1, 0]


def test_the_same_rows_have_one_fingerprint_whatever_the_file(tmp_path):
    texts = ("x,y\n1,a\n2,b\n", "\ufeffx,y\r\n1.0,a\r\n2e0,b\r\n")
    prints = set()
    for text in texts:
        (tmp_path / "rows.csv").write_bytes(text.encode())
        dataset = read("csv", tmp_path / "rows.csv", ReadOptions(target="y"))
        prints.add(dataset.facts.fingerprint)
    assert len(prints) == 1


def test_formulas_are_kept_as_the_text_they_are(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("x,y\n1,=cmd()\n2,@sum(1)\n")
    assert read("csv", path, ReadOptions(target="y")).facts.classes == ("=cmd()", "@sum(1)")


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path):
    assert FORMATS == ("csv", "parquet", "npz", "idx", "image_zip", "text")
    with pytest.raises(DatasetInvalid, match="one of csv, parquet, npz, idx, image_zip, text"):
        read("pt", tmp_path / "model.pt", ReadOptions())
