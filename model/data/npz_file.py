"""NPZ files with two members, `inputs` and `targets`.

A member's header is read alone: its type must be a number's or a text's, and the shape it
declares must be exactly the bytes that follow, before memory is asked for.
"""

import io
import math
import struct
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
        start, header = _header_bytes(file, name)
        shape, is_fortran, dtype = _declared(start, header, name)
        _check_dtype(dtype, name)
        _check_shape(shape, dtype, member.file_size - len(start) - len(header), name, limits)
        flat, found = read_values(file, math.prod(shape), dtype)
    if found != flat.nbytes:
        raise _wrong_length(flat.nbytes, found, name)
    array = flat.reshape(shape[::-1]).T if is_fortran else flat.reshape(shape)
    return np.ascontiguousarray(array, dtype.newbyteorder("="))


def _header_bytes(file: BinaryIO, name: str) -> tuple[bytes, bytes]:
    """Magic and length, then the header; never more than 10,000 bytes whatever they say."""
    start = file.read(8)
    length_format = {b"\x01\x00": "<H", b"\x02\x00": "<I"}.get(start[6:])
    if not start.startswith(b"\x93NUMPY") or length_format is None:
        raise DatasetInvalid(f"member '{name}' is no array of npy version 1 or 2", member=name)
    start += file.read(struct.calcsize(length_format))
    (length,) = struct.unpack(length_format, start[8:])
    header = file.read(min(length, _HEADER_BYTES + 1))
    if not length == len(header) <= _HEADER_BYTES:
        raise DatasetInvalid(f"member '{name}': its header is cut off or too long", member=name)
    return start, header


def _declared(start: bytes, header: bytes, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    parse = {
        1: np.lib.format.read_array_header_1_0,
        2: np.lib.format.read_array_header_2_0,
    }[start[6]]
    try:
        return parse(io.BytesIO(start[8:] + header), max_header_size=_HEADER_BYTES)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise DatasetInvalid(f"member '{name}': its header cannot be read", member=name) from error


def _check_dtype(dtype: np.dtype, name: str) -> None:
    is_number = dtype.kind in "biuf" and dtype.itemsize <= 8
    is_text = name == "targets" and dtype.kind == "U" and 0 < dtype.itemsize <= _TEXT_BYTES
    if not (is_number or is_text):
        kind = shown(str(dtype))
        raise DatasetInvalid(
            f"member '{name}' has type {kind}; integers, booleans and floats of at most 64 bits "
            "are read, and for targets text",
            member=name,
            dtype=kind,
        )


def _check_shape(
    shape: tuple[int, ...], dtype: np.dtype, present: int, name: str, limits: Limits
) -> None:
    if any(axis < 0 for axis in shape) or not shape:
        raise DatasetInvalid(f"member '{name}' declares shape {shape}", member=name)
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
