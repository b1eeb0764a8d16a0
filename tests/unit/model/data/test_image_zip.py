import io
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data.dataset import Dataset
from model.data.image_zip import read
from model.data.options import Limits, ReadOptions
from model.errors import DatasetInvalid, DatasetTooLarge


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(array: np.ndarray, kind: str = "PNG", mode: str | None = None) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(file, kind)
    return file.getvalue()


GRAY = [pixels(seed, 4, 5) for seed in range(4)]
PNG = [encoded(array) for array in GRAY]


@pytest.fixture
def images(tmp_path: Path):
    def reads(files: dict[str, bytes], **limits: int) -> Dataset:
        with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return read(tmp_path / "images.zip", ReadOptions(limits=Limits(**limits)))

    return reads


def test_each_folder_is_a_class_and_rows_are_sorted_by_path(images):
    dataset = images({"dog/b.png": PNG[0], "cat/1.png": PNG[1], "dog/a.png": PNG[2]})
    assert dataset.facts.classes == ("cat", "dog")
    assert dataset.targets.tolist() == [0, 1, 1]
    assert dataset.facts.input_shape == (1, 4, 5)
    assert (dataset.facts.images, dataset.facts.train_rows) == (True, None)
    np.testing.assert_array_equal(dataset.inputs[:, 0], [GRAY[1], GRAY[2], GRAY[0]])


def test_train_and_test_folders_are_the_datasets_own_split(images):
    dataset = images(
        {
            "test/cat/a.png": PNG[0],
            "train/dog/a.png": PNG[1],
            "train/cat/a.png": PNG[2],
            "test/cat/0.png": PNG[3],
        }
    )
    assert (dataset.facts.train_rows, dataset.facts.test_rows) == (2, 2)
    assert dataset.facts.classes == ("cat", "dog")
    assert dataset.targets.tolist() == [0, 1, 0, 0]
    np.testing.assert_array_equal(dataset.inputs[:, 0], [GRAY[2], GRAY[1], GRAY[3], GRAY[0]])


def test_classes_may_be_called_train_and_test(images):
    dataset = images({"train/a.png": PNG[0], "test/a.png": PNG[1]})
    assert dataset.facts.classes == ("test", "train")
    assert dataset.facts.train_rows is None


def test_color_is_three_channels_in_the_order_red_green_blue(images):
    colors = [pixels(seed, 4, 5, 3) for seed in range(2)]
    dataset = images({"a/a.png": encoded(colors[0]), "b/a.png": encoded(colors[1])})
    assert dataset.facts.input_shape == (3, 4, 5)
    np.testing.assert_array_equal(dataset.inputs[1], colors[1].transpose(2, 0, 1))


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("P", 3), ("RGB", 3)])
def test_bilevel_gray_palette_and_color_images_are_read(images, mode, channels):
    data = encoded(pixels(0, 4, 5, 3), mode=mode)
    dataset = images({"a/a.png": data, "b/a.png": data})
    assert dataset.facts.input_shape == (channels, 4, 5)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("L" if channels == 1 else "RGB"))
    np.testing.assert_array_equal(dataset.inputs[0], np.atleast_3d(expected).transpose(2, 0, 1))


def test_jpeg_is_read_as_pillow_decodes_it(images):
    data = encoded(pixels(0, 8, 8, 3), "JPEG")
    dataset = images({"a/a.jpg": data, "b/a.jpeg": data})
    expected = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(dataset.inputs[0], expected.transpose(2, 0, 1))


def test_what_file_browsers_leave_behind_is_skipped(images):
    litter = {"__MACOSX/a/._a.png": b"x", "a/.DS_Store": b"x", "Thumbs.db": b"x", "b/": b""}
    dataset = images({"a/a.png": PNG[0], "b/a.png": PNG[1]} | litter)
    assert dataset.facts.rows == 2


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with hardly any pixels."""
    whole = encoded(pixels(0, 1, 1))
    head = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + whole[24:29]
    return whole[:12] + head + zlib.crc32(head).to_bytes(4, "big") + whole[33:]


LARGE = encoded(pixels(0, 5, 4))
COLOR = encoded(pixels(0, 4, 5, 3))
CLEAR = encoded(pixels(0, 4, 5, 4))
DEEP = encoded(pixels(0, 4, 5).astype(np.uint16) * 256)
JPEG = encoded(pixels(0, 64, 64), "JPEG")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "the archive holds no images"),
        ({"a/": b""}, "the archive holds no images"),
        ({"a.png": PNG[0]}, r"member 'a.png' of the archive: images lie in class/"),
        ({"x/a/1.png": PNG[0], "x/b/1.png": PNG[0]}, "'x/a/1.png' of the archive: images lie"),
        ({"train/a/1.png": PNG[0], "train/b/1.png": PNG[0]}, "train/ alone"),
        ({"test/a/1.png": PNG[0], "test/b/1.png": PNG[0]}, "test/ alone"),
        (
            {"train/a/1.png": PNG[0], "train/b/1.png": PNG[0], "test/c/1.png": PNG[0]},
            "'test/c/1.png' of the archive: its class has no image to train on",
        ),
        ({"a/1.png": PNG[0]}, "at least 2 rows"),
        ({"a/1.png": PNG[0], "a/2.png": PNG[1]}, "all targets are one class"),
        ({"a/1.png": PNG[0], "b/1.txt": b"text"}, "'b/1.txt' of the archive: no whole PNG or JPEG"),
        ({"a/1.png": PNG[0], "b/1.png": b""}, "'b/1.png' of the archive: no whole PNG or JPEG"),
        ({"a/1.png": PNG[0], "b/1.zip": b"PK\3\4" * 9}, "'b/1.zip' of the archive: no whole PNG"),
        ({"a/1.png": PNG[0], "b/1.gif": encoded(GRAY[0], "GIF")}, "'b/1.gif' of the archive: no"),
        ({"a/1.png": PNG[0], "b/1.png": PNG[1][:50]}, "'b/1.png' of the archive: a truncated"),
        ({"a/1.jpg": JPEG, "b/1.jpg": JPEG[:-300]}, "'b/1.jpg' of the archive: a truncated"),
        (
            {"a/1.png": PNG[0], "b/1.png": LARGE},
            "'b/1.png' of the archive: 4 x 5 pixels of 1 channels, the first image has 5 x 4 of 1",
        ),
        ({"a/1.png": PNG[0], "b/1.png": COLOR}, "'b/1.png' of the archive: 5 x 4 pixels of 3"),
        ({"a/1.png": CLEAR, "b/1.png": CLEAR}, "'a/1.png' of the archive: .* not RGBA"),
        ({"a/1.png": DEEP, "b/1.png": DEEP}, "'a/1.png' of the archive: .* not I;16"),
        ({"a/1.png": PNG[0], "b/1.png": bomb(5, 5)}, "'b/1.png' of the archive: 5 x 5 pixels"),
        ({"a/1.png": bomb(5, 4), "b/1.png": PNG[0]}, "'a/1.png' of the archive: a truncated"),
        ({"a/1.png": bomb(3_000, 3_000), "b/1.png": PNG[0]}, "9000000 numbers a row"),
        ({"a/1.png": bomb(10_000, 10_000), "b/1.png": PNG[0]}, "'a/1.png' of the archive: no"),
        ({"a/1.png": bomb(2**31 - 1, 2**31 - 1), "b/1.png": PNG[0]}, "'a/1.png' of the archive"),
    ],
)
def test_a_bad_archive_is_refused_with_the_member_at_fault(images, files, message):
    with pytest.raises(DatasetInvalid, match=message):
        images(files)


def test_transparency_in_a_palette_is_refused(images):
    file = io.BytesIO()
    Image.fromarray(pixels(0, 4, 5)).convert("P").save(file, "PNG", transparency=b"\0\1\2")
    with pytest.raises(DatasetInvalid, match="without transparency"):
        images({"a/1.png": file.getvalue(), "b/1.png": file.getvalue()})


def test_every_cut_of_an_image_is_refused(images):
    for whole in (PNG[0], JPEG):
        for cut in range(0, len(whole) - 40, max(1, len(whole) // 25)):
            with pytest.raises(DatasetInvalid, match="'a/1' of the archive"):
                images({"a/1": whole[:cut], "b/1": whole})


@pytest.mark.parametrize(
    ("limits", "unit"),
    [
        ({"max_members": 3}, "members"),
        ({"max_rows": 3}, "rows"),
        ({"max_columns": 19}, "numbers a row"),
        ({"max_values": 79}, "numbers"),
        ({"max_bytes": 70}, "bytes"),
        ({"max_image_bytes": 50}, "bytes an image"),
        ({"max_classes": 3}, "classes"),
    ],
)
def test_each_limit_is_said_with_its_unit(images, limits, unit):
    files = {f"{index}/a.png": data for index, data in enumerate(PNG)}
    with pytest.raises(DatasetTooLarge) as refused:
        images(files, **limits)
    assert refused.value.metadata["unit"] == unit


def test_what_pillow_only_warns_about_is_refused_without_the_tests_filters(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/1.png", bomb(10_000, 10_000))  # above Pillow's warning, below its error
        archive.writestr("b/1.png", PNG[0])
    code = (
        "import sys; from pathlib import Path\n"
        "from model.data.image_zip import read; from model.data.options import *\n"
        "from model.errors import DatasetInvalid\n"
        "try: read(Path(sys.argv[1]), ReadOptions(limits=Limits(max_columns=10**9)))\n"
        "except DatasetInvalid as error: print(error.message)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "member 'a/1.png' of the archive: no whole PNG or JPEG image"


def test_a_part_of_cifar10_is_read_with_its_own_test_split(test_data, tmp_path):
    with (
        zipfile.ZipFile(test_data / "cifar10" / "cifar10-jpeg.zip") as whole,
        zipfile.ZipFile(tmp_path / "images.zip", "w") as part,
    ):
        names = sorted(name for name in whole.namelist() if not name.endswith("/"))
        for name in names[::100]:
            part.writestr(name, whole.read(name))
    dataset = read(tmp_path / "images.zip", ReadOptions())
    assert (dataset.facts.train_rows, dataset.facts.test_rows) == (500, 100)
    assert dataset.facts.input_shape == (3, 32, 32)
    assert len(dataset.facts.classes or ()) == 10
    assert np.bincount(dataset.targets).tolist() == [60] * 10
    # 500 images of a spread between images of about .13: sd of the mean .006.
    means = dataset.inputs[:500].mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(means, [0.4913, 0.4821, 0.4465], atol=5 * 0.006)
