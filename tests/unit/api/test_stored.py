"""A revision's file is read from two files as if it were one."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from api import stored
from core.errors import FileMissing
from core.local_files import LocalFiles
from model.checkpoint import About, Written, write, write_revision
from model.data.builtin import build
from model.data.scaling import Scaling
from model.errors import CheckpointRefused, ChecksumMismatch
from model.networks.build import build as build_network
from model.plan import plan
from model.spec import RunSpec

WINE = build("wine")


@dataclass(frozen=True)
class Record:
    key: str
    statistics_key: str | None
    sha256: str


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "files")


def tensors(hidden: int, shift: float) -> tuple[dict[str, torch.Tensor], About]:
    """A network of 13 inputs whose running means are `shift`."""
    spec = RunSpec.model_validate(
        {
            "dataset": "wine",
            "network": {"kind": "mlp", "hidden": [hidden, hidden]},
            "norm": "batch",
            "loss": {"kind": "cross_entropy"},
        }
    )
    network = build_network(plan(spec, WINE.facts), dtype=torch.float32)
    state = network.state_dict()
    state |= {name: one + shift for name, one in state.items() if name.endswith("running_mean")}
    return state, About(spec, WINE.facts, Scaling.fit("none", WINE.inputs, False), 7)


def put(files: LocalFiles, name: str, written: Written) -> Written:
    files.put(written.path, name)
    return written


@pytest.fixture
def record(files: LocalFiles, tmp_path: Path) -> Record:
    """A revision, its weights in `w` and its statistics in `s`."""
    state, about = tensors(5, 0)
    moved = {n: t + 3 if n.endswith("running_mean") else t for n, t in state.items()}
    put(files, "w", write(tmp_path / "w", state, about))
    whole = put(files, "s", write_revision(tmp_path / "s", moved, about))
    return Record("w", "s", whole.sha256)


def test_the_bytes_are_those_that_were_recorded(files: LocalFiles, record: Record) -> None:
    found = stored.content(files, record)
    whole = b"".join(found.read(0, found.size))
    assert hashlib.sha256(whole).hexdigest() == record.sha256
    assert len(whole) == found.size
    for start, length in ((0, 9), (5, 700), (found.size - 3, 3), (found.size // 2, 64)):
        assert b"".join(found.read(start, length)) == whole[start : start + length]


def test_a_revision_loads_with_its_own_statistics(files: LocalFiles, record: Record) -> None:
    layer = stored.load(files, record).network.get_submodule("1")
    assert torch.equal(layer.get_buffer("running_mean"), torch.full((5,), 3.0))


def test_an_original_is_its_one_file(files: LocalFiles, record: Record) -> None:
    whole = files.local("w").read_bytes()
    original = Record("w", None, hashlib.sha256(whole).hexdigest())
    found = stored.content(files, original)
    assert b"".join(found.read(0, found.size)) == whole
    assert stored.load(files, original).step == 7


def test_what_is_not_there_is_missing_before_a_byte_is_read(
    files: LocalFiles, record: Record
) -> None:
    files.delete("s")
    with pytest.raises(FileMissing):
        stored.content(files, record)
    with pytest.raises(FileMissing):
        stored.load(files, record)


class Vanishing(LocalFiles):
    """A store of which somebody deletes a file as soon as it has been found."""

    def local(self, key: str) -> Path:
        path = super().local(key)
        self.delete(key)
        return path


@pytest.mark.parametrize("own", [None, "s"])
def test_what_is_deleted_between_a_look_and_the_reading_is_missing(
    files: LocalFiles, record: Record, tmp_path: Path, own: str | None
) -> None:
    vanishing = Vanishing(tmp_path / "files")
    with pytest.raises(FileMissing):
        stored.load(vanishing, Record("w", own, record.sha256))


def test_statistics_of_another_network_are_refused(
    files: LocalFiles, record: Record, tmp_path: Path
) -> None:
    put(files, "s", write_revision(tmp_path / "other", *tensors(6, 0)))
    with pytest.raises(CheckpointRefused):
        stored.content(files, record)


def test_statistics_that_were_changed_are_not_served(
    files: LocalFiles, record: Record, tmp_path: Path
) -> None:
    state, about = tensors(5, 9)
    put(files, "s", write_revision(tmp_path / "other", state, about))
    with pytest.raises(ChecksumMismatch):
        stored.load(files, record)
