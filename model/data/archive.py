"""Zip archives from strangers: what may be in one, checked before anything is unpacked.

Knows nothing of arrays or images. The directory's size is read from the file's last bytes before
`zipfile` sees it, since that builds an object per member whatever their number.
"""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from model.data.inputs import check_unpacked, shown
from model.data.options import Limits
from model.errors import DatasetInvalid, DatasetTooLarge

_END = struct.Struct("<4s4H2LH")  # signature, disks, entries twice, size, offset, comment
_END64 = struct.Struct("<4sQ2H2L4Q")  # ..., versions, disks, entries twice, size, offset
_LOCATOR_BYTES = 20
_ENTRY = struct.Struct("<4s24x3H12x")  # signature, lengths of name, extra field and comment
_ENTRY_BYTES = 1_024  # what an entry takes at most, on average
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    UnicodeDecodeError,
    ValueError,
)


@contextmanager
def open_archive(path: Path, max_members: int, limits: Limits) -> Iterator[zipfile.ZipFile]:
    """Open a zip file whose every member may be unpacked.

    Raises:
        DatasetInvalid: no zip file, a damaged one, or a member that is refused, by name:
            encrypted, a link, another compression than deflate, an unsafe or repeated name.
        DatasetTooLarge: more members, or more bytes unpacked, than the limits.
    """
    with path.open("rb") as file:
        _check_directory(file, max_members)
        try:
            archive = zipfile.ZipFile(file)
        except _DAMAGED as error:
            raise _damaged() from error
        with archive:
            _check_members(archive.infolist(), path.stat().st_size, limits)
            yield archive


def _check_directory(file: BinaryIO, max_members: int) -> None:
    size = file.seek(0, 2)
    file.seek(max(0, size - _END.size - 65_535))
    tail = file.read()
    position = tail.rfind(b"PK\5\6")
    if position < 0 or len(tail) - position < _END.size:
        raise DatasetInvalid("not a zip file: it has no directory at its end")
    end = _END.unpack_from(tail, position)
    stop, entries, directory_bytes = size - len(tail) + position, end[4], end[5]
    before = tail[max(0, position - _LOCATOR_BYTES - _END64.size) : position]
    if before[-_LOCATOR_BYTES:].startswith(b"PK\6\7"):
        if len(before) < _LOCATOR_BYTES + _END64.size or not before.startswith(b"PK\6\6"):
            raise _damaged()
        stop, end64 = stop - len(before), _END64.unpack_from(before)
        entries, directory_bytes = end64[7], end64[8]
    if entries > max_members:
        raise DatasetTooLarge(
            f"an archive of {entries} members, at most {max_members} are accepted",
            size=entries,
            limit=max_members,
            unit="members",
        )
    if directory_bytes > stop or directory_bytes > max_members * _ENTRY_BYTES + 65_536:
        raise _damaged()
    file.seek(stop - directory_bytes)
    _check_count(file, entries, directory_bytes)


def _damaged() -> DatasetInvalid:
    return DatasetInvalid("a damaged zip file: its directory cannot be read")


def _check_count(file: BinaryIO, entries: int, directory_bytes: int) -> None:
    """Walk the directory: `zipfile` goes by its bytes and not by the count that the file claims."""
    for _ in range(entries):
        entry = file.read(_ENTRY.size)
        if len(entry) < _ENTRY.size or not entry.startswith(b"PK\1\2"):
            raise _damaged()
        _, name, extra, comment = _ENTRY.unpack(entry)
        directory_bytes -= len(entry) + len(file.read(name + extra + comment))
    if directory_bytes:
        raise _damaged()


def _check_members(members: list[zipfile.ZipInfo], size: int, limits: Limits) -> None:
    seen: set[str] = set()
    for member in members:
        why = _refusal(member, seen)
        if not 0 <= member.header_offset < size:
            why = "it lies outside the file"
        if why:
            name = shown(member.orig_filename)
            raise DatasetInvalid(f"member '{name}' of the archive: {why}", member=name)
        seen.add(member.filename)
        _check_ratio(member, limits)
    unpacked = sum(member.file_size for member in members)
    check_unpacked(unpacked, limits)


def _refusal(member: zipfile.ZipInfo, seen: set[str]) -> str | None:
    name = member.orig_filename
    parts = name.rstrip("/").split("/")
    unsafe = any(part in ("", ".", "..") for part in parts) or "\\" in name or ":" in name
    reasons = (
        (unsafe or not name.isprintable(), "its name is not a plain relative path"),
        (member.filename in seen, "the name stands there twice"),
        (bool(member.flag_bits & 0x1), "it is encrypted"),
        (stat.S_ISLNK(member.external_attr >> 16), "it is a link"),
        (
            member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
            "it is packed by another method than deflate",
        ),
    )
    return next((why for applies, why in reasons if applies), None)


def _check_ratio(member: zipfile.ZipInfo, limits: Limits) -> None:
    packed = max(1, member.compress_size)
    if member.file_size > max(limits.ratio_floor_bytes, limits.max_ratio * packed):
        name = shown(member.filename)
        raise DatasetTooLarge(
            f"member '{name}' of the archive unpacks to {member.file_size} bytes from "
            f"{member.compress_size}, more than {limits.max_ratio} times",
            member=name,
            size=member.file_size,
            packed=member.compress_size,
            limit=limits.max_ratio,
            unit="ratio",
        )


@contextmanager
def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[BinaryIO]:
    """Read a member; whoever reads to its end has had its checksum compared.

    Raises:
        DatasetInvalid: names the member whose bytes are damaged or missing.
    """
    try:
        with archive.open(member) as file:
            yield file  # type: ignore[misc]
    except _DAMAGED as error:
        name = shown(member.filename)
        raise DatasetInvalid(f"member '{name}' of the archive is damaged", member=name) from error
