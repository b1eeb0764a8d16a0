import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import FileMissing, StoreUnavailable
from core.files import FileStore, open_store
from core.local_files import LocalFiles
from core.settings import Settings

CONTENT = bytes(range(256)) * 5000  # more than one block


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FileStore]:
    settings = (
        Settings(data=tmp_path / "data")
        if request.param == "local"
        else request.getfixturevalue("s3_settings")
    )
    store = open_store(settings)
    yield store
    store.close()


def put(store: FileStore, key: str, content: bytes = CONTENT) -> None:
    path = store.scratch() / f"new-{key.replace('/', '-')}"
    path.write_bytes(content)
    store.put(path, key)


def test_a_file_comes_back_byte_for_byte(store: FileStore) -> None:
    put(store, "runs/run_1/e1/step-10.safetensors")
    with store.open("runs/run_1/e1/step-10.safetensors") as file:
        assert file.read() == CONTENT
    assert store.size("runs/run_1/e1/step-10.safetensors") == len(CONTENT)
    assert store.local("runs/run_1/e1/step-10.safetensors").read_bytes() == CONTENT


def test_putting_leaves_nothing_in_scratch(store: FileStore) -> None:
    put(store, "a/b")
    assert list(store.scratch().iterdir()) == []


def test_a_file_from_another_place_is_moved_in(store: FileStore, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(CONTENT)
    store.put(elsewhere, "a/b")
    assert not elsewhere.exists()
    assert store.size("a/b") == len(CONTENT)


def test_putting_again_replaces_the_whole_file(store: FileStore) -> None:
    put(store, "a/b")
    assert store.local("a/b").read_bytes() == CONTENT
    put(store, "a/b", b"short")
    assert store.local("a/b").read_bytes() == b"short"
    assert store.size("a/b") == 5


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 4, CONTENT[:4]),
        (1_000_000, 200_000, CONTENT[1_000_000:1_200_000]),
        (len(CONTENT) - 3, 100, CONTENT[-3:]),
        (5, 0, b""),
        (0, len(CONTENT), CONTENT),
    ],
)
def test_a_range_is_read_from_the_middle(
    store: FileStore, start: int, length: int, expected: bytes
) -> None:
    put(store, "a/b")
    assert b"".join(store.read_range("a/b", start, length)) == expected


def test_reading_a_large_range_comes_in_blocks(store: FileStore) -> None:
    put(store, "a/b")
    assert [len(block) for block in store.read_range("a/b", 0, len(CONTENT))] == [
        2**20,
        len(CONTENT) - 2**20,
    ]


def test_a_missing_file_is_named_as_missing(store: FileStore) -> None:
    put(store, "a/b/c")
    for key in ["a/none", "none/at/all", "a/b", "a/b/c/d"]:
        for ask in [store.open, store.size, store.local]:
            with pytest.raises(FileMissing) as refused:
                ask(key)
            assert refused.value.metadata == {"key": key}
        with pytest.raises(FileMissing):
            list(store.read_range(key, 0, 1))


def test_deleting_is_repeatable(store: FileStore) -> None:
    put(store, "a/b")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/was")
    with pytest.raises(FileMissing):
        store.size("a/b")


def test_a_folder_goes_with_all_its_files_and_no_other(store: FileStore) -> None:
    for key in ["runs/run_1/a", "runs/run_1/deep/er/b", "runs/run_10/c"]:
        put(store, key)
    store.delete_prefix("runs/run_1/")
    store.delete_prefix("runs/run_1")
    assert [file.key for file in store.list("runs")] == ["runs/run_10/c"]


def test_a_listing_tells_key_size_and_age(store: FileStore) -> None:
    put(store, "runs/run_1/a", b"12345")
    put(store, "datasets/ds_1/b")
    assert {file.key for file in store.list()} == {"runs/run_1/a", "datasets/ds_1/b"}
    (only,) = store.list("runs/")
    assert only.key == "runs/run_1/a"
    assert only.size == 5
    assert 0 <= only.age_seconds < 60
    assert list(store.list("nothing")) == []


NO_KEYS = ["", "/", "/etc/passwd", "a//b", "a/", "../x", "a/../b", "a/.hidden", ".scratch/x"]
ODD_KEYS = [
    "a b",
    "a\nb",
    "a\0b",
    "a%2e",
    "é",
    "C:\\x",
    "a/*",
    "~",
    "a/?",
    "a" * 129,
    "a/" * 10 + "a",
]


@pytest.mark.parametrize("key", [*NO_KEYS, *ODD_KEYS])
def test_what_is_no_key_is_refused_everywhere(store: FileStore, key: str) -> None:
    path = store.scratch() / "new"
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match="key"):
        store.put(path, key)
    for ask in [store.open, store.size, store.local, store.delete]:
        with pytest.raises(ValueError, match="key"):
            ask(key)


def test_the_whole_store_cannot_be_deleted_by_an_empty_prefix(store: FileStore) -> None:
    with pytest.raises(ValueError, match="key"):
        store.delete_prefix("")


def test_sweeping_removes_only_what_is_old(store: FileStore) -> None:
    old, new = store.scratch() / "old", store.scratch() / "new"
    old.write_bytes(b"x")
    os.utime(old, (0, 0))
    new.mkdir()
    assert store.sweep(3600) == 1
    assert list(store.scratch().iterdir()) == [new]


def test_free_bytes_are_told(store: FileStore) -> None:
    assert store.free_bytes() > 0


def test_no_link_is_followed_out_of_a_local_store(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    store = LocalFiles(tmp_path / "root")
    (tmp_path / "root" / "folder").symlink_to(outside)
    (tmp_path / "root" / "file").symlink_to(outside / "secret")
    for key in ["folder/secret", "file"]:
        with pytest.raises(FileMissing):
            store.open(key)
        with pytest.raises(FileMissing):
            store.local(key)
    with pytest.raises(StoreUnavailable):
        put(store, "folder/new")
    store.delete("folder/secret")
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert list(store.list()) == []


def test_a_store_on_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        LocalFiles(tmp_path / "file")


def test_a_failed_put_keeps_the_file_that_was_there(tmp_path: Path) -> None:
    store = LocalFiles(tmp_path / "root")
    put(store, "a/b", b"old")
    with pytest.raises(FileNotFoundError):
        store.put(tmp_path / "not there", "a/b")
    assert store.local("a/b").read_bytes() == b"old"


def test_an_s3_server_that_does_not_answer_is_an_outage(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        closed = f"http://127.0.0.1:{probe.getsockname()[1]}"
    access = {"key": "id", "secret": "secret", "endpoint_url": closed}
    store = open_store(Settings(data=tmp_path, files_url="s3://b/p", files_options=access))
    for ask in [store.size, store.local, store.open, store.delete]:
        with pytest.raises(StoreUnavailable):
            ask("a/b")
    path = store.scratch() / "new"
    path.write_bytes(b"x")
    with pytest.raises(StoreUnavailable):
        store.put(path, "a/b")
    assert path.exists()
    with pytest.raises(StoreUnavailable):
        list(store.list())
    store.close()


def test_a_bucket_that_is_not_there_is_an_outage_and_not_a_missing_file(
    s3_settings: Settings,
) -> None:
    elsewhere = s3_settings.model_copy(update={"files_url": "s3://nowhere-at-all/p"})
    store = open_store(elsewhere)
    path = store.scratch() / "new"
    path.write_bytes(b"x")
    with pytest.raises(StoreUnavailable):
        store.put(path, "a/b")
    store.close()


def test_the_cache_of_downloads_stays_within_its_bytes(s3_settings: Settings) -> None:
    store = open_store(s3_settings.model_copy(update={"cache_bytes": 250}))
    for name in "abc":
        put(store, name, name.encode() * 100)
    first, second = store.local("a"), store.local("b")
    os.utime(first, (1, 1))
    os.utime(second, (2, 2))
    assert store.local("a") == first  # used again, so `b` is now the oldest
    third = store.local("c")
    assert (first.exists(), second.exists(), third.exists()) == (True, False, True)
    assert store.local("b").read_bytes() == b"b" * 100
    store.close()


def test_a_cached_file_is_downloaded_once(s3_settings: Settings) -> None:
    store = open_store(s3_settings)
    put(store, "a")
    first = store.local("a").stat().st_ino
    assert store.local("a").stat().st_ino == first
    store.close()
