import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from model.data.dataset import Dataset
from model.data.npz_file import read
from model.data.options import Limits, ReadOptions
from model.errors import DatasetInvalid, DatasetTooLarge

FLOATS = np.arange(6, dtype=np.float32).reshape(3, 2)
CLASSES = np.array([0, 1, 0])


@pytest.fixture
def npz(tmp_path: Path):
    def reads(inputs: np.ndarray, targets: np.ndarray, **limits: int) -> Dataset:
        np.savez_compressed(tmp_path / "rows.npz", inputs=inputs, targets=targets)
        return read(tmp_path / "rows.npz", ReadOptions(limits=Limits(**limits)))

    return reads


@pytest.fixture
def members(tmp_path: Path):
    def reads(**files: bytes) -> Dataset:
        with zipfile.ZipFile(tmp_path / "rows.npz", "w") as archive:
            for name, data in files.items():
                archive.writestr(f"{name}.npy", data)
        return read(tmp_path / "rows.npz", ReadOptions())

    return reads


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        ("f4", "f4"),
        (">f4", "f4"),
        ("f8", "f4"),  # 0 to 5 survive the trip to float32
        ("f2", "f4"),
        ("i8", "f4"),
        ("u1", "f4"),
        (">u2", "f4"),
        ("?", "f4"),
    ],
)
def test_every_real_type_becomes_numbers(npz, dtype, stored):
    inputs = FLOATS.astype(dtype)
    dataset = npz(inputs, CLASSES)
    np.testing.assert_array_equal(dataset.inputs, inputs)
    assert dataset.inputs.dtype == stored
    assert not dataset.facts.images


def test_doubles_and_long_integers_that_float32_would_round_stay_doubles(npz):
    for inputs in (FLOATS + np.float64(0.1), FLOATS.astype(np.int64) + 2**30 + 1):
        dataset = npz(inputs, CLASSES)
        assert dataset.inputs.dtype == np.float64
        np.testing.assert_array_equal(dataset.inputs, inputs)


def test_columns_first_arrays_are_read_in_their_order(npz):
    np.testing.assert_array_equal(npz(np.asfortranarray(FLOATS), CLASSES).inputs, FLOATS)
    images = np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2))
    np.testing.assert_array_equal(npz(images, CLASSES[:2]).inputs, images)


def test_bytes_of_three_or_four_axes_are_images(npz):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 5), dtype=np.uint8)
    dataset = npz(pixels, CLASSES)
    assert dataset.facts.images
    assert dataset.inputs.dtype == np.uint8
    np.testing.assert_array_equal(dataset.inputs, pixels)
    flat = npz(pixels[:, 0], CLASSES)
    assert flat.facts.input_shape == (1, 4, 5)
    np.testing.assert_array_equal(flat.inputs[:, 0], pixels[:, 0])


def test_floats_of_four_axes_stay_floats(npz):
    dataset = npz(np.ones((3, 2, 4, 5), np.float32), CLASSES)
    assert (dataset.facts.images, dataset.inputs.dtype) == (False, np.float32)


def test_one_number_a_row_is_one_feature(npz):
    assert npz(np.array([1.0, 2.0, 3.0]), CLASSES).facts.input_shape == (1,)


@pytest.mark.parametrize(
    ("targets", "classes", "values"),
    [
        (np.array([7, -1, 7]), ("-1", "7"), [1, 0, 1]),
        (np.array([[7], [-1], [7]]), ("-1", "7"), [1, 0, 1]),
        (np.array([10, 9, 2], np.uint8), ("2", "9", "10"), [2, 1, 0]),
        (np.array([True, False, True]), ("False", "True"), [1, 0, 1]),
        (np.array(["b", "a", "b"]), ("a", "b"), [1, 0, 1]),
        (np.array(["é", "a", "b"], ">U4"), ("a", "b", "é"), [2, 0, 1]),
        (np.array([0.5, 1, 2]), None, [[0.5], [1], [2]]),
        (np.array([[0.5], [1], [2]], np.float32), None, [[0.5], [1], [2]]),
        (np.array([[0.5, 1], [1, 2], [2, 3]]), None, [[0.5, 1], [1, 2], [2, 3]]),
    ],
)
def test_the_targets_type_decides_the_task(npz, targets, classes, values):
    dataset = npz(FLOATS, targets)
    assert dataset.facts.classes == classes
    assert dataset.targets.tolist() == values
    assert dataset.facts.outputs == (len(classes) if classes else dataset.targets.shape[1])


BAD_NUMBER = np.array([[0, 1], [2, np.nan], [3, np.inf]])


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (BAD_NUMBER, CLASSES, "row 2, column 2: the number is not finite"),
        (BAD_NUMBER.astype(np.float16), CLASSES, "row 2, column 2: the number is not finite"),
        (np.full((3, 2), 1e39), CLASSES, "row 1, column 1: the number is beyond 1e38"),
        (np.full((3, 1, 2, 2), np.inf, "f4"), CLASSES, "row 1, column 1: "),
        (FLOATS, np.array([0, np.nan, 1]), "row 2, column 'target 1': the number is not finite"),
        (FLOATS, BAD_NUMBER, "row 2, column 'target 2': the number is not finite"),
        (FLOATS, CLASSES[:2], "3 rows of inputs, 2 targets"),
        (FLOATS, np.zeros((3, 2), np.int64), r"targets of shape \(3, 2\) and type int64"),
        (FLOATS, np.zeros((3, 1, 1)), r"targets of shape \(3, 1, 1\)"),
        (FLOATS, np.zeros((3, 0)), r"targets of shape \(3, 0\): there are none"),
        (FLOATS[:1], CLASSES[:1], "at least 2 rows, this one has 1"),
        (FLOATS, np.zeros(3, np.int64), "all targets are one class"),
        (np.zeros((0, 2)), np.zeros(0), r"inputs of shape \(0, 2\)"),
        (np.zeros((3, 0)), CLASSES, r"inputs of shape \(3, 0\)"),
        (np.zeros((3, 1, 1, 1, 1)), CLASSES, r"inputs of shape \(3, 1, 1, 1, 1\)"),
        (np.zeros((3, 32, 32, 3), np.uint8), CLASSES, r"they are \(channels, height, width\)"),
        (np.array(5.0), CLASSES, "member 'inputs' declares no shape of rows"),
        (FLOATS.astype(complex), CLASSES, "member 'inputs' has type complex128"),
        (FLOATS.astype("g"), CLASSES, "member 'inputs' has type float128"),
        (FLOATS.astype("U"), CLASSES, "member 'inputs' has type <U"),
        (FLOATS, np.array([b"a", b"b", b"c"]), "member 'targets' has type"),
        (FLOATS, np.array(["a", "b", "c"], "U201"), "member 'targets' has type"),
        (np.zeros(3, "f8,i4"), CLASSES, "member 'inputs' has type"),
        (np.zeros(3, "M8[s]"), CLASSES, "member 'inputs' has type"),
        (FLOATS, np.array(["a", "", "c"]), "class '': a name has 1 to 200"),
        (FLOATS, np.array(["a", "b\x07", "c"]), r"class 'b\\x07': control"),
        (FLOATS, np.array(["a", "b", "c"]).view("u4").__add__(0x110000).view("U1"), "not Unicode"),
        (FLOATS, np.array([0xD800, 98, 99], "u4").view("U1"), r"class '\\ud800': control"),
    ],
)
def test_a_bad_array_is_refused_with_the_place_at_fault(npz, inputs, targets, message):
    with pytest.raises(DatasetInvalid, match=message):
        npz(inputs, targets)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"inputs": npy(FLOATS)}, "no member 'targets'"),
        ({"targets": npy(CLASSES)}, "no member 'inputs'"),
        (
            {"inputs": npy(FLOATS), "targets": npy(CLASSES), "more": b""},
            "member 'more.npy' of the archive: only inputs and targets",
        ),
        ({"inputs": b"", "targets": npy(CLASSES)}, "member 'inputs' is no array of npy"),
        ({"inputs": b"\x93NUMPY\x03\x00", "targets": npy(CLASSES)}, "npy version 1 or 2"),
        ({"inputs": b"PK\x05\x06" * 10, "targets": npy(CLASSES)}, "member 'inputs' is no array"),
        ({"inputs": npy(FLOATS)[:9], "targets": npy(CLASSES)}, "cut off or too long"),
        ({"inputs": npy(FLOATS)[:50], "targets": npy(CLASSES)}, "cut off or too long"),
        (
            {"inputs": npy(FLOATS)[:-1], "targets": npy(CLASSES)},
            "member 'inputs' declares 24 bytes of values and holds 23",
        ),
        (
            {"inputs": npy(FLOATS) + b"\0", "targets": npy(CLASSES)},
            "member 'inputs' declares 24 bytes of values and holds 25",
        ),
    ],
)
def test_a_bad_member_is_named(members, files, message):
    with pytest.raises(DatasetInvalid, match=message):
        members(**files)


@pytest.mark.parametrize(
    "descr",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3.0, 2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 3}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3,)}",
        "{'descr': '<f4', 'shape': (3, 2)}",
        "{'descr': 'nonsense', 'fortran_order': False, 'shape': (3, 2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 4_000 + ", 2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1," * 3_000 + ")}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}",
        "__import__('os').getcwd()",
        "(" * 9_000,
        "-" * 9_000 + "1",
        "[" * 80 + "]" * 80,
        " " * 20_000,
    ],
)
def test_a_header_that_is_no_header_is_refused(members, descr):
    body = descr.encode() + b"\n"
    file = b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body + bytes(24)
    with pytest.raises(DatasetInvalid, match=r"member 'inputs'"):
        members(inputs=file, targets=npy(CLASSES))


def test_a_header_of_version_2_is_read(members):
    file = io.BytesIO()
    np.lib.format.write_array(file, FLOATS, version=(2, 0))
    dataset = members(inputs=file.getvalue(), targets=npy(CLASSES))
    np.testing.assert_array_equal(dataset.inputs, FLOATS)


@pytest.mark.parametrize(
    ("limits", "unit"),
    [
        ({"max_rows": 99}, "rows"),
        ({"max_columns": 4}, "numbers a row"),
        ({"max_values": 499}, "numbers"),
        ({"max_classes": 3}, "classes"),
        ({"max_bytes": 2_000}, "bytes"),
    ],
)
def test_each_limit_is_said_with_its_unit(npz, limits, unit):
    inputs, targets = np.zeros((100, 5), np.float32), np.arange(100) % 4
    with pytest.raises(DatasetTooLarge) as refused:
        npz(inputs, targets, **limits)
    assert refused.value.metadata["unit"] == unit
