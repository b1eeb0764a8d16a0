"""Zip files of PNG and JPEG images: one folder a class, or `train/` and `test/` above them."""

import io
import math
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.data.archive import open_archive, open_member
from model.data.assemble import assemble
from model.data.dataset import Dataset
from model.data.inputs import check_size, shown
from model.data.options import Limits, ReadOptions
from model.data.targets import Targets, check_class_count, text_classes
from model.errors import DatasetInvalid, DatasetTooLarge

_PARTS = ("train", "test")
_LITTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_CHANNELS = {"1": 1, "L": 1, "P": 3, "RGB": 3}

# What Pillow only warns about (a bomb, a broken chunk) is no image for us. Said once, here: the
# filters belong to the whole process, and changing them around a call is not safe with threads.
warnings.filterwarnings("error", module=r"PIL\.")


@dataclass(frozen=True)
class _Picture:
    """One member of the archive and where its path puts it."""

    member: zipfile.ZipInfo
    part: str  # "train", "test", or "" where the archive has no such folders
    label: str

    def refused(self, why: str, **metadata: Any) -> DatasetInvalid:
        name = shown(self.member.filename)
        return DatasetInvalid(f"member '{name}' of the archive: {why}", member=name, **metadata)


def read(path: Path, options: ReadOptions) -> Dataset:
    """Read images of one size, all grayscale or all RGB, as pixels (n, channels, height, width).

    Classes are the folders' names, sorted; rows are sorted by path, training rows first. An
    orientation written in a photograph's metadata is not applied.

    Raises:
        DatasetInvalid: names the member that is no image, is damaged, or differs in size.
        DatasetTooLarge: more members, bytes or pixels than the limits.
    """
    limits = options.limits
    with open_archive(path, limits.max_members, limits) as archive:
        pictures = _pictures(archive.infolist())
        targets = _targets(pictures, limits)
        inputs = _pixels(archive, pictures, limits)
    train = sum(picture.part == "train" for picture in pictures)
    return assemble(inputs, targets, limits, images=True, train_rows=train or None)


def _pictures(members: list[zipfile.ZipInfo]) -> list[_Picture]:
    """Every image in the order of its row."""
    files = [member for member in members if not member.is_dir() and not _is_litter(member)]
    if not files:
        raise DatasetInvalid("the archive holds no images")
    has_parts = all(
        len(names) == 3 and names[0] in _PARTS
        for names in (member.filename.split("/") for member in files)
    )
    pictures = [_placed(member, has_parts) for member in files]
    found = {picture.part for picture in pictures}
    if has_parts and found != set(_PARTS):
        part = found.pop()
        raise DatasetInvalid(
            f"the archive has {part}/ alone; both train/ and test/ or none", part=part
        )
    return sorted(pictures, key=lambda picture: (picture.part != "train", picture.member.filename))


def _is_litter(member: zipfile.ZipInfo) -> bool:
    """What file browsers leave behind."""
    parts = member.filename.split("/")
    return parts[0] in _LITTER or parts[-1] in _LITTER


def _placed(member: zipfile.ZipInfo, has_parts: bool) -> _Picture:
    names = member.filename.split("/")
    if has_parts:
        return _Picture(member, names[0], names[1])
    picture = _Picture(member, "", names[0])
    if len(names) != 2:
        raise picture.refused("images lie in class/ or in train/class/ and test/class/")
    return picture


def _targets(pictures: list[_Picture], limits: Limits) -> Targets:
    trained = {picture.label for picture in pictures if picture.part != "test"}
    for picture in pictures:
        if picture.label not in trained:
            raise picture.refused("its class has no image to train on")
    check_class_count(len(trained), limits)
    place = {label: index for index, label in enumerate(sorted(trained))}
    indices = np.array([place[picture.label] for picture in pictures])
    return text_classes(list(place), indices)


def _pixels(archive: zipfile.ZipFile, pictures: list[_Picture], limits: Limits) -> np.ndarray:
    # The first image's header sets the size of all, before anything is decoded.
    with _opened(archive, pictures[0], limits) as image:
        expected = _shape(image)
    check_size(len(pictures), math.prod(expected), 1, limits)
    inputs = np.empty((len(pictures), *expected), np.uint8)
    for row, picture in enumerate(pictures):
        with _opened(archive, picture, limits) as image:
            if _shape(image) != expected:
                shape = _shape(image)
                raise picture.refused(
                    _difference(shape, expected), shape=list(shape), first_shape=list(expected)
                )
            inputs[row] = _decoded(image, picture)
    return inputs


def _shape(image: Image.Image) -> tuple[int, int, int]:
    return _CHANNELS[image.mode], image.height, image.width


def _difference(shape: tuple[int, ...], first: tuple[int, ...]) -> str:
    return (
        f"{shape[2]} x {shape[1]} pixels of {shape[0]} channels, the first image has "
        f"{first[2]} x {first[1]} of {first[0]}"
    )


def _bytes(archive: zipfile.ZipFile, picture: _Picture, limits: Limits) -> bytes:
    if picture.member.file_size > limits.max_image_bytes:
        raise DatasetTooLarge(
            f"member '{shown(picture.member.filename)}' of the archive has "
            f"{picture.member.file_size} bytes, an image at most {limits.max_image_bytes}",
            member=shown(picture.member.filename),
            size=picture.member.file_size,
            limit=limits.max_image_bytes,
            unit="bytes an image",
        )
    with open_member(archive, picture.member) as file:
        return file.read()


def _opened(archive: zipfile.ZipFile, picture: _Picture, limits: Limits) -> Image.Image:
    """The image with its header read and nothing decoded."""
    data = _bytes(archive, picture, limits)
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except Exception as error:  # a decoder fails in any way on hostile bytes; the file is at fault
        raise picture.refused("no whole PNG or JPEG image") from error
    if image.mode not in _CHANNELS or "transparency" in image.info:
        raise picture.refused(
            f"grayscale or RGB without transparency is read, not {image.mode}", mode=image.mode
        )
    return image


def _decoded(image: Image.Image, picture: _Picture) -> np.ndarray:
    """Pixels as (channels, height, width)."""
    try:
        pixels = np.asarray(image.convert("L" if _CHANNELS[image.mode] == 1 else "RGB"))
    except Exception as error:  # as above
        raise picture.refused("a truncated or damaged image") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
