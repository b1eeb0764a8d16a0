"""Networks stay in memory within their bounds, and only whole files are loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.serving.loaded import Networks
from core.local_files import LocalFiles
from model.checkpoint import Written
from model.data.dataset import Facts
from model.errors import ChecksumMismatch


@dataclass(frozen=True)
class Stored:
    id: str
    key: str
    sha256: str
    bytes: int
    statistics_key: str | None = None


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "files")


@pytest.fixture
def store(
    files: LocalFiles, write: Callable[..., Written], make_facts: Callable[..., Facts]
) -> Callable[[int], Stored]:
    def put(number: int) -> Stored:
        written = write(make_facts(), name=f"c{number}", seed=number)
        key = f"runs/{number}.safetensors"
        files.put(written.path, key)
        return Stored(f"ckpt_{number}", key, written.sha256, written.num_bytes)

    return put


def test_a_network_is_loaded_once(files: LocalFiles, store: Callable[[int], Stored]) -> None:
    networks, stored = Networks(files, 4, 2**30), store(1)
    assert networks.get(stored) is networks.get(stored)


def test_the_least_recently_used_leaves(files: LocalFiles, store: Callable[[int], Stored]) -> None:
    networks = Networks(files, 2, 2**30)
    one, two, three = (store(number) for number in (1, 2, 3))
    first, second = networks.get(one), networks.get(two)
    networks.get(one)
    networks.get(three)
    assert len(networks) == 2
    assert networks.get(one) is first
    assert networks.get(two) is not second


def test_bytes_are_bounded_but_one_network_always_fits(
    files: LocalFiles, store: Callable[[int], Stored]
) -> None:
    networks = Networks(files, 10, 1)
    networks.get(store(1))
    networks.get(store(2))
    assert len(networks) == 1


def test_a_file_with_one_other_byte_is_never_used(
    files: LocalFiles, store: Callable[[int], Stored]
) -> None:
    stored = store(1)
    path = files.local(stored.key)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ChecksumMismatch):
        Networks(files, 2, 2**30).get(stored)
