import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from model.data.archive import open_archive, open_member
from model.data.options import Limits
from model.errors import DatasetInvalid, DatasetTooLarge


def zipped(*names: str, data: bytes = b"data", **options: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name in names:
            archive.writestr(name, data)
    return file.getvalue()


def patched(whole: bytes, offset: int, value: bytes, local_offset: int | None = None) -> bytes:
    """The archive with bytes of its first directory entry (and local header) changed."""
    changed = bytearray(whole)
    entry = whole.index(b"PK\1\2") + offset
    changed[entry : entry + len(value)] = value
    if local_offset is not None:
        changed[local_offset : local_offset + len(value)] = value
    return bytes(changed)


@pytest.fixture
def names(tmp_path: Path):
    def reads(data: bytes, max_members: int = 10, **limits: int) -> list[str]:
        path = tmp_path / "some.zip"
        path.write_bytes(data)
        with open_archive(path, max_members, Limits(**limits)) as archive:
            for member in archive.infolist():
                with open_member(archive, member) as file:
                    file.read()
            return archive.namelist()

    return reads


def test_a_plain_archive_is_opened(names):
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert names(zipped("a", "b/", "b/ü", compression=compression)) == ["a", "b/", "b/ü"]


def test_a_comment_and_the_64_bit_form_are_read(names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = b"made by hand"
        with archive.open("a", "w", force_zip64=True) as member:
            member.write(b"data")
    assert names(file.getvalue()) == ["a"]
    assert len(names(zipped(*map(str, range(70_000)), data=b""), 70_000)) == 70_000


@pytest.mark.parametrize(
    "name",
    ["../a", "a/../b", "/etc/passwd", "a//b", "./a", "..", "a\\b", "C:a", "a\nb", "\u202ea", "/"],
)
def test_a_name_that_is_no_plain_path_is_refused(names, name):
    with pytest.raises(DatasetInvalid, match="its name is not a plain relative path"):
        names(zipped(name))


def test_a_name_with_nul_is_refused_though_zipfile_cuts_it(names):
    with pytest.raises(DatasetInvalid, match=r"member 'a\\x00b' of the archive"):
        names(zipped("aXb").replace(b"aXb", b"a\0b"))


def test_a_repeated_name_is_refused(names):
    with pytest.raises(DatasetInvalid, match="member 'a1' of the archive: the name stands there"):
        names(zipped("a1", "a2").replace(b"a2", b"a1"))


def test_an_encrypted_member_is_refused(names):
    with pytest.raises(DatasetInvalid, match="member 'a' of the archive: it is encrypted"):
        names(patched(zipped("a"), 8, b"\1\0", 6))


def test_a_link_is_refused(names):
    mode = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(DatasetInvalid, match="member 'a' of the archive: it is a link"):
        names(patched(zipped("a"), 38, struct.pack("<L", mode)))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression_is_refused(names, method):
    with pytest.raises(DatasetInvalid, match="another method than deflate"):
        names(zipped("a", compression=method))


def test_a_member_outside_the_file_is_refused(names):
    two = zipped("a", "b")
    start = two.index(b"PK\1\2")
    later = bytearray(two)
    later[-6:-2] = struct.pack("<L", start + 40)  # the directory claims to start further on
    with pytest.raises(DatasetInvalid, match="member 'a' of the archive: it lies outside"):
        names(bytes(later))
    with pytest.raises(DatasetInvalid, match="member 'a' of the archive: it lies outside"):
        names(patched(two, 42, struct.pack("<L", len(two))))


def test_a_damaged_member_is_named(names):
    whole = zipped("a", data=b"data" * 100)
    with pytest.raises(DatasetInvalid, match="member 'a' of the archive is damaged"):
        names(whole.replace(b"datadata", b"dataDATA", 1))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\5\6",
        b"plain text, no archive",
        zipped("a")[:-1],
        zipped("a")[:20] + zipped("a")[-22:],
        patched(zipped("a"), 0, b"XX"),
        zipped("a") + bytes(70_000),
        patched(zipped("a"), 6, b"\xff"),  # needs a version of zip that does not exist
        b"PK\5\6" + bytes(8) + b"\xff" * 8 + bytes(2),
        b"PK\6\7" + bytes(16) + b"PK\5\6" + b"\xff" * 16 + bytes(2),
        b"PK\6\6" + b"\xff" * 52 + b"PK\6\7" + bytes(16) + b"PK\5\6" + b"\xff" * 16 + bytes(2),
    ],
    ids=range(11),  # the bytes hold the time
)
def test_what_is_no_whole_archive_is_refused(names, data):
    with pytest.raises(DatasetInvalid, match=r"zip file|an archive of \d+ members"):
        names(data)


def test_the_number_of_members_is_bounded(names):
    assert len(names(zipped(*map(str, range(10))))) == 10
    with pytest.raises(DatasetTooLarge) as refused:
        names(zipped(*map(str, range(11))))
    assert refused.value.metadata == {"size": 11, "limit": 10, "unit": "members"}


@pytest.mark.parametrize("claimed", [0, 1, 4, 6])
def test_an_archive_that_claims_another_number_of_members_is_refused(names, claimed):
    whole = bytearray(zipped(*map(str, range(5))))
    whole[-14:-10] = struct.pack("<2H", claimed, claimed)
    with pytest.raises(DatasetInvalid, match="a damaged zip file"):
        names(bytes(whole))


def test_the_sum_of_what_unpacks_is_bounded(names):
    whole = zipped("a", "b", data=bytes(600), compression=zipfile.ZIP_DEFLATED)
    assert names(whole, max_bytes=1_200) == ["a", "b"]
    with pytest.raises(DatasetTooLarge, match="1200 bytes unpacked, at most 1199"):
        names(whole, max_bytes=1_199)


def test_the_ratio_is_bounded_above_a_floor(names):
    whole = zipped("a", data=bytes(100_000), compression=zipfile.ZIP_DEFLATED)
    assert names(whole) == ["a"]
    with pytest.raises(DatasetTooLarge, match="member 'a' of the archive unpacks to 100000 bytes"):
        names(whole, ratio_floor_bytes=99_999)


def test_a_member_never_gives_more_than_it_declares(names):
    whole = zipped("a", data=bytes(1_000_000), compression=zipfile.ZIP_DEFLATED)
    less = struct.pack("<L", 100)
    with pytest.raises(DatasetInvalid, match="member 'a' of the archive is damaged"):
        names(patched(whole, 24, less, 22))
