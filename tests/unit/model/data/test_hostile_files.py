"""Files made to hurt: each refused by name, within a second, in a few megabytes."""

import gzip
import io
import re
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from model.data.options import ReadOptions
from model.data.readers import read
from model.errors import DatasetInvalid

GIB = 2**30
FLAT_BYTES = 24 * 2**20
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
ENTRY = struct.Struct("<4s6H3L5H2L")


def npy(descr: str, shape: str, data: bytes = b"") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + data


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


TARGETS = npy("'<i8'", "(2,)", np.array([0, 1]).tobytes())
INPUTS = npy("'<f4'", "(2, 1)", np.zeros(2, "f4").tobytes())


def npz(inputs: bytes, targets: bytes = TARGETS, **more: bytes) -> bytes:
    return zipped({"inputs.npy": inputs, "targets.npy": targets} | more)


def directory(entries: int, claimed: int, name: bytes = b"a/1.png") -> bytes:
    """An archive of many members, all alike, whose end claims another count."""
    entry = ENTRY.pack(b"PK\1\2", *[20, 20, 0, 0, 0, 0], 0, 0, 0, len(name), *[0] * 6) + name
    body = entry * entries
    end64 = END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, claimed, claimed, len(body), 0)
    locator = b"PK\6\7" + struct.pack("<LQL", 0, len(body), 1)
    short = min(claimed, 0xFFFF)
    end = END.pack(b"PK\5\6", 0, 0, short, short, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return body + end64 + locator + end


def claims_to_unpack(size: int) -> bytes:
    """A real archive of 3 MB, both of whose headers say that the first member unpacks to `size`."""
    whole = bytearray(npz(npy("'<f4'", "(1, 1)", np.random.default_rng(0).bytes(3_000_000))))
    entry = whole.index(b"PK\1\2")
    for place in (22, entry + 24):
        whole[place : place + 4] = struct.pack("<L", size)
    return bytes(whole)


def flags(whole: bytes, value: int) -> bytes:
    changed = bytearray(whole)
    for place in (6, whole.index(b"PK\1\2") + 8):
        changed[place] = value
    return bytes(changed)


def idx(*axes: int, kind: int = 8, data: bytes = b"") -> bytes:
    return bytes([0, 0, kind, len(axes)]) + struct.pack(f">{len(axes)}L", *axes) + data


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">L", zlib.crc32(name + data))
        return struct.pack(">L", len(data)) + name + data + checksum

    header = struct.pack(">2L5B", width, height, 8, 0, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(bytes(1_000_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


def csv(rows: str | bytes, header: str = "x,y\n") -> bytes:
    return header.encode() + (rows if isinstance(rows, bytes) else rows.encode())


def long_gzip_name() -> bytes:
    return b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 30_000_000


NPZ: dict[str, tuple[Callable[[], bytes], str]] = {
    "144 bytes that declare 64 GiB": (
        lambda: npz(npy("'<f8'", f"({8 * GIB},)")),
        "8589934592 rows, at most 10000000",
    ),
    "a shape whose product leaves 64 bits": (
        lambda: npz(npy("'<f8'", f"({2**33}, {2**33})")),
        "rows, at most",
    ),
    "a shape whose product is 0 again in 64 bits": (
        lambda: npz(npy("'<f4'", f"(4, {2**31}, {2**31})")),
        "numbers a row, at most",
    ),
    "an axis of 2**63": (
        lambda: npz(npy("'<f4'", f"(4, {2**63})")),
        "'inputs' declares no shape of rows",
    ),
    "more values than the member has": (
        lambda: npz(npy("'<f4'", "(1000000, 100)", bytes(100))),
        "'inputs' declares 400000000 bytes of values and holds 100",
    ),
    "fewer values than the member has": (
        lambda: npz(npy("'<f4'", "(1, 1)", bytes(100))),
        "'inputs' declares 4 bytes of values and holds 100",
    ),
    "objects": (
        lambda: npz(npy("'|O'", "(2,)", b"\x80\x04cos\nsystem\n(S'true'\ntR.")),
        "'inputs' has type object",
    ),
    "records": (lambda: npz(npy("[('a', '<f4')]", "(2,)", bytes(8))), "'inputs' has type object"),
    "raw bytes": (lambda: npz(npy("'|V4'", "(2,)", bytes(8))), "'inputs' has type"),
    "times": (lambda: npz(npy("'<M8[s]'", "(2,)", bytes(16))), "'inputs' has type"),
    "text of a gigabyte a row": (
        lambda: npz(INPUTS, npy("'<U268435456'", "(2,)")),
        "'targets' has type",
    ),
    "3 MB that unpack to 3 GiB": (
        lambda: claims_to_unpack(3 * GIB),
        "'inputs.npy' of the archive unpacks to 3221225472 bytes",
    ),
    "a member of 64 MiB of zeros": (
        lambda: npz(npy("'<f4'", "(16777216, 1)", bytes(64 * 2**20))),
        "'inputs.npy' of the archive unpacks to",
    ),
    "a member that goes on beyond its declared size": (
        lambda: claims_to_unpack(132),
        "'inputs.npy' of the archive is damaged",
    ),
    "a member that ends before its declared size": (
        lambda: claims_to_unpack(3_100_000),
        "declares 4 bytes of values and holds|is damaged",
    ),
    "an archive within the archive": (
        lambda: npz(INPUTS, **{"inner.zip": npz(INPUTS)}),
        "'inner.zip' of the archive: only inputs and targets",
    ),
    "an archive in place of a member": (lambda: npz(npz(INPUTS)), "'inputs' is no array"),
    "a million members": (lambda: directory(10**6, 10**6), "archive of 1000000 members"),
    "a million members that claim to be two": (
        lambda: directory(10**6, 2),
        "damaged zip",
    ),
    "a name twice": (
        lambda: npz(INPUTS, **{"inputs.npz": INPUTS}).replace(b"inputs.npz", b"inputs.npy"),
        "'inputs.npy' of the archive: the name stands there twice",
    ),
    "a path upwards": (
        lambda: npz(INPUTS, **{"../etc/x": b""}),
        "'../etc/x' of the archive: its name",
    ),
    "an absolute path": (lambda: npz(INPUTS, **{"/etc/x": b""}), "'/etc/x' of the archive"),
    "an encrypted member": (lambda: flags(npz(INPUTS), 1), "of the archive: it is encrypted"),
    "strong encryption": (lambda: flags(npz(INPUTS), 0x40), "of the archive is damaged"),
    "a pickle": (lambda: b"\x80\x04\x95" + bytes(100), "not a zip file"),
    "nothing": (bytes, "not a zip file"),
}

IDX: dict[str, tuple[Callable[[], bytes], str]] = {
    "16 bytes that declare 2**96 values": (
        lambda: idx(*[2**32 - 1] * 3),
        "'file' declares|rows, at most",
    ),
    "16 bytes that declare 2 GiB": (
        lambda: idx(2**11, 2**10, 2**7),
        "'file' declares 268435456 bytes of values and holds fewer",
    ),
    "a header of 255 axes": (lambda: b"\0\0\x08\xff" + bytes(1_100), "'file' is no IDX file"),
    "30 kB of gzip that unpack to 30 MB": (
        lambda: gzip.compress(idx(2, 1, data=bytes(30_000_000))),
        "'file' declares 2 bytes of values and holds more",
    ),
    "gzip within gzip": (
        lambda: gzip.compress(gzip.compress(idx(2, 1, data=bytes(2)))),
        "'file' is no IDX file",
    ),
    "a gzip header with a name of 30 MB": (long_gzip_name, "'file' is a damaged gzip file"),
    "gzip cut off": (
        lambda: gzip.compress(idx(2_000, 1, data=np.random.default_rng(0).bytes(2_000)))[:500],
        "'file' is a damaged gzip file",
    ),
}

CSV: dict[str, tuple[Callable[[], bytes], str]] = {
    "a million columns": (
        lambda: ",".join(map(str, range(10**6))).encode(),
        "columns, at most|a line is longer",
    ),
    "a million short columns": (lambda: b"a" + b",a" * 10**6, "1000001 columns, at most 65536"),
    "a line of 32 MB": (lambda: csv("1," + "x" * 32_000_000), "near line 2: a line is longer"),
    "a cell of 3 MB": (lambda: csv("1,a\n2," + "x" * 3_000_000), "class 'xxx.*1 to 200"),
    "a quote that is never closed": (
        lambda: csv('1,a\n"2,b\n' + "1,a\n" * 3_000_000),
        "line 3: a quote opens in this row and is not closed",
    ),
    "a row of cells that are line ends": (
        lambda: csv('1,a\n"\n"' + ',"\n"' * 3_000_000),
        "line 3: a quote opens",
    ),
    "NUL": (lambda: csv("1,a\n2,\0\n"), "line 3: a NUL byte"),
    "NUL to the end": (lambda: csv(bytes(16_000_000)), "line 2: a NUL byte"),
    "two encodings": (lambda: csv(b"1,\xc3\xa9\n2,\xe9\n"), "line 3: not UTF-8"),
    "UTF-16": (lambda: csv("1,a\n").decode().encode("utf-16"), "line 1: "),
    "surrogates in UTF-8": (lambda: csv(b"1,\xed\xa0\x80\n2,a\n"), "line 2: not UTF-8"),
    "overlong UTF-8": (lambda: csv(b"1,\xc0\xaf\n2,a\n"), "line 2: not UTF-8"),
    "ragged rows": (lambda: csv("1,a\n" * 100_000 + "1\n"), "row 100001: 1 cells"),
    "a header alone": (lambda: csv(""), "no rows of CSV|has 0"),
    "all NaN": (lambda: csv("nan,a\nnan,b\n"), "row 1, column 'x': the number is not finite"),
    "one row": (lambda: csv("1,a\n"), "at least 2 rows"),
    "a class of line ends": (lambda: csv('1,a\n2,"b\nc"\n'), "row 2, class"),
    "one name twice": (lambda: csv("1,2,3\n", "x,x,y\n"), "columns 1 and 2"),
    "no such column": (lambda: csv("1,2\n", "a,b\n"), "no column 'y'"),
    "a pickle": (lambda: b"\x80\x04\x95" + bytes(100), "line 1: "),
    "nothing": (bytes, "found 0"),
}

IMAGES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a million members": (lambda: directory(10**6, 10**6), "archive of 1000000 members"),
    "a million members that claim to be two": (
        lambda: directory(10**6, 2),
        "damaged zip",
    ),
    "50 members with names of 60 kB": (
        lambda: directory(50, 50, b"a/" + b"n" * 60_000),
        "the name stands there twice",
    ),
    "an image of 2**62 pixels": (
        lambda: zipped({"a/1.png": png(2**31 - 1, 2**31 - 1), "b/1.png": png(1, 1)}),
        "'a/1.png' of the archive",
    ),
    "an image of 100 million pixels": (
        lambda: zipped({"a/1.png": png(10_000, 10_000), "b/1.png": png(1, 1)}),
        "'a/1.png' of the archive: no whole PNG",
    ),
    "an image of 9 million pixels": (
        lambda: zipped({"a/1.png": png(3_000, 3_000), "b/1.png": png(1, 1)}),
        "9000000 numbers a row, at most",
    ),
    "an image member of 64 MiB of zeros": (
        lambda: zipped({"a/1.png": bytes(64 * 2**20), "b/1.png": png(1, 1)}),
        "'a/1.png' of the archive unpacks to",
    ),
    "an archive within the archive": (
        lambda: zipped({"a/1.zip": zipped({"a/1.png": png(1, 1)}), "b/1.png": png(1, 1)}),
        "'a/1.zip' of the archive: no whole PNG",
    ),
    "a path upwards": (
        lambda: zipped({"a/../../x.png": png(1, 1)}),
        "'a/../../x.png' of the archive: its name",
    ),
}

PARQUET: dict[str, tuple[Callable[[], bytes], str]] = {
    "a footer of 4 GiB": (lambda: b"PAR1" + b"\xff" * 4 + b"PAR1", "does not end in a footer"),
    "a footer of 100 MB": (
        lambda: bytes(100_000_000) + struct.pack("<L", 99_000_000) + b"PAR1",
        "a footer of 99000000 bytes",
    ),
    "a footer of rubbish": (
        lambda: b"PAR1" + b"\x15\xff" * 500 + struct.pack("<L", 1_000) + b"PAR1",
        "not a whole Parquet file",
    ),
    "a list that claims to be endless": (
        lambda: b"PAR1" + b"\x15\x02\x19\xfc\xff\xff\xff\xff\x07" + struct.pack("<L", 9) + b"PAR1",
        "not a whole Parquet file",
    ),
    "an encrypted footer": (
        lambda: b"PARE" + bytes(100) + struct.pack("<L", 50) + b"PARE",
        "does not end in a footer",
    ),
    "CSV": (lambda: csv("1,a\n2,b\n"), "does not end in a footer"),
    "nothing": (bytes, "does not end in a footer"),
}

TEXT: dict[str, tuple[Callable[[], bytes], str]] = {
    "a word of 30 MB": (lambda: b"a\n" + b"b" * 30_000_000, "near line 2: a line is longer"),
    "60 MB": (lambda: b"a\n" * 30_000_000, "a text of 60000000 bytes; at most 50000000"),
    "NUL to the end": (lambda: b"ab\n" + bytes(16_000_000), "line 2: a NUL byte"),
    "empty lines alone": (lambda: b"\n" * 8_000_000, "no word"),
    "UTF-16": (lambda: "ab\n".encode("utf-16"), "line 1: "),
    "surrogates in UTF-8": (lambda: b"ab\n\xed\xa0\x80\n", "line 2: not UTF-8"),
    "text that turns to the left": (lambda: "a\nb\u202ec\n".encode(), "line 2: control"),
    "20,000 different characters": (
        lambda: "\n".join(map(chr, range(0x4E00, 0x4E00 + 20_000))).encode(),
        "20001 different characters with the boundary, at most 10000",
    ),
    "a pickle": (lambda: b"\x80\x04\x95" + bytes(100), "line 1: "),
    "nothing": (bytes, "no word"),
}

CASES = [
    pytest.param(format, build, message, id=f"{format}: {name}")
    for format, table in (
        ("npz", NPZ),
        ("idx", IDX),
        ("csv", CSV),
        ("image_zip", IMAGES),
        ("parquet", PARQUET),
        ("text", TEXT),
    )
    for name, (build, message) in table.items()
]


@pytest.mark.parametrize(("format", "build", "message"), CASES)
def test_a_hostile_file_is_refused_by_name_at_once_and_in_little_memory(
    tmp_path: Path, format: str, build: Callable[[], bytes], message: str
):
    path, targets = tmp_path / "upload", tmp_path / "targets"
    path.write_bytes(build())
    targets.write_bytes(idx(2, data=b"\0\1"))
    options = ReadOptions(target="y", targets_path=targets)
    content = sorted(tmp_path.iterdir())

    start = time.perf_counter()
    with pytest.raises(DatasetInvalid, match=message) as refused:
        read(format, path, options)
    assert time.perf_counter() - start < 1
    assert len(refused.value.message) < 500
    assert numbers_said(refused.value.message) <= set(numbers_in(refused.value.metadata))

    assert allocated_bytes(lambda: read(format, path, options)) < FLAT_BYTES
    assert sorted(tmp_path.iterdir()) == content


def numbers_said(message: str) -> set[str]:
    """The numbers of a message that stand neither in a quoted name nor in a word."""
    unquoted = re.sub(r"'[^']*'", "", message)
    return set(re.findall(r"(?<![\w.-])\d+(?!\w)", unquoted))


def numbers_in(metadata: object) -> Iterator[str]:
    """The numbers anywhere in the metadata."""
    if isinstance(metadata, dict | list):
        for value in metadata.values() if isinstance(metadata, dict) else metadata:
            yield from numbers_in(value)
    else:
        yield str(metadata)


def allocated_bytes(refused: Callable[[], object]) -> int:
    """Peak of what Python and numpy held during a refusal, and what Arrow still holds after it."""
    arrow_bytes = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        with pytest.raises(DatasetInvalid):
            refused()
        return tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - arrow_bytes
    finally:
        tracemalloc.stop()
