import gzip
from pathlib import Path

import numpy as np
import pytest

from model.data.dataset import Dataset
from model.data.idx_file import read
from model.data.options import Limits, ReadOptions
from model.errors import DatasetInvalid, DatasetTooLarge

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 4, 5), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 3, 4], np.uint8)


def idx(array: np.ndarray, dtype: str = "u1") -> bytes:
    axes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, CODES[dtype], array.ndim]) + axes + array.astype(dtype).tobytes()


@pytest.fixture
def parts(tmp_path: Path):
    def reads(file: bytes, targets: bytes | None, *test: bytes, **limits: int) -> Dataset:
        paths = []
        for name, data in zip("abcd", (file, targets, *test), strict=False):
            paths.append(None if data is None else tmp_path / name)
            if data is not None:
                (tmp_path / name).write_bytes(data)
        path, targets_path, test_path, test_targets_path = [*paths, None, None][:4]
        assert path is not None
        options = ReadOptions(None, targets_path, test_path, test_targets_path, Limits(**limits))
        return read(path, options)

    return reads


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_bytes_of_three_axes_are_images_plain_or_packed(parts, pack):
    dataset = parts(pack(idx(PIXELS)), pack(idx(LABELS)))
    np.testing.assert_array_equal(dataset.inputs[:, 0], PIXELS)
    assert dataset.facts.input_shape == (1, 4, 5)
    assert (dataset.facts.images, dataset.inputs.dtype) == (True, np.uint8)
    assert dataset.facts.classes == ("1", "3", "4")
    assert dataset.targets.tolist() == [1, 0, 2, 0, 1, 2]
    assert dataset.facts.train_rows is None


@pytest.mark.parametrize("dtype", list(CODES))
def test_every_type_of_the_format_is_read(parts, dtype):
    values = (np.arange(12) - (0 if dtype == "u1" else 6)).reshape(6, 2)
    dataset = parts(idx(values, dtype), idx(LABELS))
    np.testing.assert_array_equal(dataset.inputs, values)
    assert dataset.inputs.dtype == np.float32


def test_float_targets_are_a_regression(parts):
    dataset = parts(idx(PIXELS), idx(np.arange(6) / 4, ">f4"))
    assert dataset.targets.ravel().tolist() == [0, 0.25, 0.5, 0.75, 1, 1.25]
    assert dataset.facts.task == "regression"


def test_a_test_pair_becomes_the_datasets_own_split(parts):
    dataset = parts(idx(PIXELS[:4]), idx(LABELS[:4]), idx(PIXELS[4:]), idx(LABELS[4:]))
    assert (dataset.facts.train_rows, dataset.facts.test_rows) == (4, 2)
    np.testing.assert_array_equal(dataset.inputs[:, 0], PIXELS)


GOOD = idx(PIXELS), idx(LABELS)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((GOOD[0], None), "IDX needs a second part, 'targets'"),
        ((*GOOD, GOOD[0]), "'test_file' and 'test_targets' come together"),
        ((b"", GOOD[1]), "'file' is no IDX file"),
        ((b"\x00\x00\x07\x01" + bytes(8), GOOD[1]), "'file' is no IDX file"),
        ((b"\x00\x00\x08\x00", GOOD[1]), "'file' is no IDX file"),
        ((b"\x00\x00\x08\xff" + bytes(2_000), GOOD[1]), "'file' is no IDX file"),
        ((b"\x00\x01" + GOOD[0][2:], GOOD[1]), "'file' is no IDX file"),
        ((GOOD[0], b"PK\x03\x04" + bytes(99)), "'targets' is no IDX file"),
        ((GOOD[0][:9], GOOD[1]), "'file' ends within its header"),
        ((GOOD[0][:-1], GOOD[1]), "'file' declares 120 bytes of values and holds 119"),
        ((GOOD[0] + b"x", GOOD[1]), "'file' declares 120 bytes of values and holds more"),
        ((GOOD[0], idx(LABELS[:5])), "'file' has 6 rows, 'targets' 5"),
        ((*GOOD, idx(PIXELS[:2]), idx(LABELS[:1])), "'test_file' has 2 rows, 'test_targets' 1"),
        ((*GOOD, idx(PIXELS[:, :3]), GOOD[1]), "'test_file' has rows of"),
        ((*GOOD, idx(PIXELS, "i1"), GOOD[1]), "'test_file' has rows of"),
        ((*GOOD, GOOD[0], idx(LABELS, "i1")), "'test_targets' has rows of"),
        (
            (*GOOD, idx(PIXELS[:3]), idx(np.array([1, 4, 7]))),
            "'test_targets', row 3: class '7' has no row to train on",
        ),
        ((idx(PIXELS[:1]), idx(LABELS[:1])), "at least 2 rows"),
        ((idx(PIXELS[:0]), idx(LABELS[:0])), "none of them empty"),
        ((GOOD[0], idx(LABELS * 0)), "all targets are one class"),
        ((GOOD[0], idx(PIXELS)), "targets of shape"),
        ((idx(np.array([[0.5], [np.nan]]), ">f4"), idx(LABELS[:2])), "row 2, column 1: the number"),
        ((gzip.compress(GOOD[0])[:-9], GOOD[1]), "'file' is a damaged gzip file"),
        ((gzip.compress(GOOD[0])[:-1] + b"\xff", GOOD[1]), "'file' is a damaged gzip file"),
        ((b"\x1f\x8b" + bytes(50), GOOD[1]), "'file' is a damaged gzip file"),
        ((gzip.compress(GOOD[0][:-1]), GOOD[1]), "declares 120 bytes of values and holds 119"),
        ((gzip.compress(GOOD[0] + b"x"), GOOD[1]), "declares 120 bytes of values and holds more"),
    ],
)
def test_a_bad_part_is_named(parts, files, message):
    with pytest.raises(DatasetInvalid, match=message):
        parts(*files)


@pytest.mark.parametrize(
    ("limits", "unit"),
    [
        ({"max_rows": 5}, "rows"),
        ({"max_columns": 19}, "numbers a row"),
        ({"max_values": 119}, "numbers"),
        ({"max_bytes": 119}, "bytes"),
        ({"max_classes": 2}, "classes"),
    ],
)
def test_each_limit_is_said_with_its_unit(parts, limits, unit):
    with pytest.raises(DatasetTooLarge) as refused:
        parts(*GOOD, **limits)
    assert refused.value.metadata["unit"] == unit


def test_mnist_is_read_with_its_own_test_split(test_data):
    folder = test_data / "mnist"
    options = ReadOptions(
        targets_path=folder / "train-labels-idx1-ubyte.gz",
        test_path=folder / "t10k-images-idx3-ubyte.gz",
        test_targets_path=folder / "t10k-labels-idx1-ubyte.gz",
    )
    dataset = read(folder / "train-images-idx3-ubyte.gz", options)
    facts = dataset.facts
    assert (facts.rows, facts.train_rows, facts.test_rows) == (70_000, 60_000, 10_000)
    assert facts.input_shape == (1, 28, 28)
    assert facts.classes == tuple("0123456789")
    train = dataset.inputs[:60_000] / np.float32(255)
    # The constants that everyone normalizes MNIST by.
    assert train.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert train.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)
    assert np.bincount(dataset.targets[60_000:]).tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]
