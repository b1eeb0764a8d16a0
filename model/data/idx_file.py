"""IDX files, the format of MNIST, plain or gzipped: one of inputs, one of targets.

bytes 0-1: 0; byte 2: type; byte 3: number of axes; then each axis as 4 bytes, most
significant first; then the values, row after row.
"""

import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from model.data.assemble import assemble
from model.data.dataset import Dataset
from model.data.inputs import as_inputs, check_size, read_values
from model.data.options import Limits, ReadOptions
from model.data.targets import as_targets
from model.errors import DatasetInvalid

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_DEFLATE_RATIO = 1_032  # deflate packs no tighter than this
_READ_BYTES = 2**16


def read(path: Path, options: ReadOptions) -> Dataset:
    """Read a pair of IDX files, and a test pair as the dataset's own test split.

    Bytes of (n, height, width) are images; integers are classes, floats a regression. Every
    class of the test pair has rows to train on.

    Raises:
        DatasetInvalid: names the part (`file`, `targets`, `test_file`, `test_targets`).
        DatasetTooLarge: declared sizes over the limits.
    """
    limits = options.limits
    if options.targets_path is None:
        raise DatasetInvalid("IDX needs a second part, 'targets'", part="targets")
    if (options.test_path is None) != (options.test_targets_path is None):
        raise DatasetInvalid("'test_file' and 'test_targets' come together", part="test_file")
    inputs, targets = _pair(path, options.targets_path, "", limits)
    train_rows = None
    if options.test_path is not None and options.test_targets_path is not None:
        train_rows = len(inputs)
        test = _pair(options.test_path, options.test_targets_path, "test_", limits)
        inputs, targets = _joined((inputs, targets), test)
    rows, images = as_inputs(inputs)
    known = as_targets(targets, limits)
    if train_rows is not None and known.classes is not None:
        _check_trained(known.values, known.classes, train_rows)
    return assemble(rows, known, limits, images=images, train_rows=train_rows)


def _pair(file: Path, targets: Path, prefix: str, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
    inputs = _array(file, f"{prefix}file", limits)
    labels = _array(targets, f"{prefix}targets", limits)
    if len(inputs) != len(labels):
        raise DatasetInvalid(
            f"'{prefix}file' has {len(inputs)} rows, '{prefix}targets' {len(labels)}",
            part=f"{prefix}targets",
            rows=len(inputs),
            targets=len(labels),
        )
    return inputs, labels


def _joined(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    for part, one, other in zip(("test_file", "test_targets"), train, test, strict=True):
        if one.shape[1:] != other.shape[1:] or one.dtype != other.dtype:
            raise DatasetInvalid(
                f"'{part}' has rows of {other.shape[1:]} {other.dtype}, training has "
                f"{one.shape[1:]} {one.dtype}",
                part=part,
                shape=list(other.shape[1:]),
                dtype=str(other.dtype),
                training_shape=list(one.shape[1:]),
                training_dtype=str(one.dtype),
            )
    return np.concatenate([train[0], test[0]]), np.concatenate([train[1], test[1]])


def _check_trained(values: np.ndarray, classes: tuple[str, ...], train_rows: int) -> None:
    is_trained = np.zeros(len(classes), np.bool_)
    is_trained[values[:train_rows]] = True
    untrained = np.flatnonzero(~is_trained[values[train_rows:]])
    if len(untrained):
        row, name = int(untrained[0]) + 1, classes[values[train_rows + untrained[0]]]
        raise DatasetInvalid(
            f"'test_targets', row {row}: class '{name}' has no row to train on",
            **{"part": "test_targets", "row": row, "class": name},
        )


def _array(path: Path, part: str, limits: Limits) -> np.ndarray:
    try:
        with _unpacked(path) as file:
            shape, dtype = _header(file, part)
            check_size(shape[0], math.prod(shape[1:]), dtype.itemsize, limits)
            _check_possible(math.prod(shape) * dtype.itemsize, path, part)
            values, found = read_values(file, math.prod(shape), dtype)
    except (zlib.error, EOFError) as error:
        raise DatasetInvalid(f"'{part}' is a damaged gzip file", part=part) from error
    if found != values.nbytes:
        what = "more" if found > values.nbytes else found
        raise _wrong_length(values.nbytes, what, part)
    return values.reshape(shape).astype(dtype.newbyteorder("="), copy=False)


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        yield io.BufferedReader(_Gunzip(file), _READ_BYTES) if is_packed else file


class _Gunzip(io.RawIOBase):
    """One gzip member, unpacked as it is read.

    zlib reads the gzip header itself, in C; `gzip` looks for the end of a file name byte by
    byte, minutes long in a hostile file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        with memoryview(buffer) as room:
            data = self._next(len(room))
            room[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        data = b""
        while not data and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._file.read(_READ_BYTES)
            data = self._inflate.decompress(packed, size)
            if not packed and not data:
                raise EOFError("the gzip member is cut off")
        return data


def _header(file: BinaryIO, part: str) -> tuple[tuple[int, ...], np.dtype]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not 1 <= magic[3] <= 4:
        raise DatasetInvalid(
            f"'{part}' is no IDX file: it must start with two zeros, a type and 1 to 4 axes",
            part=part,
            least=1,
            limit=4,
        )
    axes = file.read(4 * magic[3])
    if len(axes) < 4 * magic[3]:
        raise DatasetInvalid(f"'{part}' ends within its header", part=part)
    return tuple(np.frombuffer(axes, ">u4").tolist()), np.dtype(_TYPES[magic[2]])


def _check_possible(declared: int, path: Path, part: str) -> None:
    if declared > _DEFLATE_RATIO * path.stat().st_size:
        raise _wrong_length(declared, "fewer", part)


def _wrong_length(declared: int, found: int | str, part: str) -> DatasetInvalid:
    return DatasetInvalid(
        f"'{part}' declares {declared} bytes of values and holds {found}",
        part=part,
        declared=declared,
        present=found,
    )
