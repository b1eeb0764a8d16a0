"""NPZ files with two members, `inputs` and `targets`.

A member's header is read alone: its type must be a number's or a text's, and the shape it
declares must be exactly the bytes that follow, before memory is asked for.
"""

import ast
import math
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from model.data.archive import open_archive, open_member
from model.data.assemble import assemble
from model.data.dataset import Dataset
from model.data.inputs import as_inputs, check_size, read_values, shown
from model.data.options import Limits, ReadOptions
from model.data.targets import as_targets
from model.errors import DatasetInvalid

_MEMBERS = ("inputs.npy", "targets.npy")
_HEADER_BYTES = 10_000
_AXES = 8
_TEXT_BYTES = 800  # 200 characters of 4 bytes


def read(path: Path, options: ReadOptions) -> Dataset:
    """Read `inputs` and `targets` as `numpy.savez` writes them.

    uint8 inputs of (n, C, H, W) or (n, H, W) are images; integer, boolean and text targets are
    classes, floats a regression.

    Raises:
        DatasetInvalid: names the member at fault, or the row and column of a bad number.
        DatasetTooLarge: declared or unpacked sizes over the limits.
    """
    limits = options.limits
    with open_archive(path, 2 * len(_MEMBERS), limits) as archive:
        members = {member.filename: member for member in archive.infolist()}
        _check_members(members)
        raw_inputs = _array(archive, members["inputs.npy"], limits)
        inputs, images = as_inputs(raw_inputs)
        targets = as_targets(_array(archive, members["targets.npy"], limits), limits)
    return assemble(inputs, targets, limits, images=images)


def _check_members(members: dict[str, zipfile.ZipInfo]) -> None:
    for name in _MEMBERS:
        if name not in members:
            member = name.removesuffix(".npy")
            raise DatasetInvalid(f"the archive has no member '{member}'", member=member)
    for name in members:
        if name not in _MEMBERS:
            raise DatasetInvalid(
                f"member '{shown(name)}' of the archive: only inputs and targets may be there",
                member=shown(name),
            )


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limits: Limits) -> np.ndarray:
    name = member.filename.removesuffix(".npy")
    with open_member(archive, member) as file:
        header, values_start = _header(file, name)
        shape, is_fortran, dtype = _declared(header, name)
        _check_dtype(dtype, name)
        _check_shape(shape, dtype, member.file_size - values_start, name, limits)
        flat, found = read_values(file, math.prod(shape), dtype)
    if found != flat.nbytes:
        raise _wrong_length(flat.nbytes, found, name)
    array = flat.reshape(shape[::-1]).T if is_fortran else flat.reshape(shape)
    return np.ascontiguousarray(array, dtype.newbyteorder("="))


def _header(file: BinaryIO, name: str) -> tuple[bytes, int]:
    """The header, never more than 10,000 bytes of it, and where the values start."""
    start = file.read(8)
    length_bytes = {b"\x93NUMPY\1\0": 2, b"\x93NUMPY\2\0": 4}.get(start)
    if length_bytes is None:
        raise DatasetInvalid(
            f"member '{name}' is no array of npy version 1 or 2", member=name, versions=[1, 2]
        )
    length = int.from_bytes(file.read(length_bytes), "little")
    header = file.read(min(length, _HEADER_BYTES + 1))
    if not length == len(header) <= _HEADER_BYTES:
        raise DatasetInvalid(f"member '{name}': its header is cut off or too long", member=name)
    return header, len(start) + length_bytes + length


def _declared(header: bytes, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type. Read here and not by numpy, which mends headers of Python 2."""
    try:
        said = ast.literal_eval(header.decode("latin-1"))
        shape, is_fortran, descr = said["shape"], said["fortran_order"], said["descr"]
        dtype = np.dtype(descr) if isinstance(descr, str) else np.dtype(object)
    except (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError) as error:
        raise DatasetInvalid(f"member '{name}': its header cannot be read", member=name) from error
    if not (
        isinstance(shape, tuple)
        and 1 <= len(shape) <= _AXES
        and all(type(axis) is int and 0 <= axis < 2**63 for axis in shape)
    ):
        raise DatasetInvalid(f"member '{name}' declares no shape of rows", member=name)
    return shape, is_fortran is True, dtype


def _check_dtype(dtype: np.dtype, name: str) -> None:
    is_number = dtype.kind in "biuf" and dtype.itemsize <= 8
    is_text = name == "targets" and dtype.kind == "U" and 0 < dtype.itemsize <= _TEXT_BYTES
    if not (is_number or is_text):
        kind = shown(str(dtype))
        raise DatasetInvalid(
            f"member '{name}' has type {kind}; integers, booleans and floats of at most 64 bits "
            "are read, and for targets text",
            member=name,
            limit=64,
            dtype=kind,
        )


def _check_shape(
    shape: tuple[int, ...], dtype: np.dtype, present: int, name: str, limits: Limits
) -> None:
    check_size(shape[0], math.prod(shape[1:]), dtype.itemsize, limits)
    declared = math.prod(shape) * dtype.itemsize
    if declared != present:
        raise _wrong_length(declared, present, name)


def _wrong_length(declared: int, present: int, name: str) -> DatasetInvalid:
    return DatasetInvalid(
        f"member '{name}' declares {declared} bytes of values and holds {present}",
        member=name,
        declared=declared,
        present=present,
    )
