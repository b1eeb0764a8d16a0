"""One file of weights and one of statistics are, byte by byte, the whole file."""

import hashlib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, load_file, save
from torch import Tensor, nn

from model.checkpoint import About, write, write_revision
from model.checkpoint import load as load_checkpoint
from model.composition import compose, composed, head_bytes
from model.data.builtin import build
from model.data.scaling import Scaling
from model.errors import CheckpointRefused
from model.spec import RunSpec
from model.statistics.fingerprint import is_statistic

DIGITS = build("digits")
SPEC = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [7, 3]}, "norm": "batch"}


def about(step: int = 3) -> About:
    spec = RunSpec.model_validate(SPEC | {"loss": {"kind": "cross_entropy"}})
    return About(spec, DIGITS.facts, Scaling.fit("standard", DIGITS.inputs, False), step)


def tensors(seed: int) -> dict[str, Tensor]:
    """Of 64-7-3-10 with two batch norms, random throughout."""
    layers: list[nn.Module] = [nn.Linear(64, 7), nn.BatchNorm1d(7), nn.Tanh()]
    layers += [nn.Linear(7, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 10)]
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(one.shape, generator=generator) if one.is_floating_point() else one + seed
        for name, one in nn.Sequential(*layers).state_dict().items()
    }


@pytest.fixture
def files(tmp_path: Path) -> tuple[bytes, bytes, bytes]:
    """Weights with their own statistics; other statistics; the whole that they make."""
    write(tmp_path / "original", tensors(1), about())
    mixed = {n: tensors(2 if is_statistic(n) else 1)[n] for n in tensors(1)}
    written = write_revision(tmp_path / "statistics", mixed, about(9))
    write(tmp_path / "whole", mixed, about(9))
    whole = (tmp_path / "whole").read_bytes()
    assert (written.sha256, written.num_bytes) == (hashlib.sha256(whole).hexdigest(), len(whole))
    names = ("original", "statistics")
    original, statistics = ((tmp_path / name).read_bytes() for name in names)
    return original, statistics, whole


def test_the_two_make_the_file_that_was_promised(files: tuple[bytes, bytes, bytes]) -> None:
    original, statistics, whole = files
    assert composed(original, statistics) == whole
    assert set(load(statistics)) == {name for name in load(original) if is_statistic(name)}


def test_every_part_can_be_read_without_the_rest(files: tuple[bytes, bytes, bytes]) -> None:
    original, statistics, whole = files
    made = compose(original[: head_bytes(original)], statistics[: head_bytes(statistics)])
    sources = {"head": made.head, "weights": original, "statistics": statistics}
    assert made.size == len(whole)

    @given(st.integers(0, len(whole)), st.integers(0, len(whole)))
    @settings(deadline=None, max_examples=200)
    def any_part_is_that_of_the_whole(start: int, length: int) -> None:
        pieces = made.within(start, length)
        found = b"".join(sources[p.source][p.start : p.start + p.length] for p in pieces)
        assert found == whole[start : start + length]

    any_part_is_that_of_the_whole()


def test_it_loads_as_the_whole_does(tmp_path: Path, files: tuple[bytes, bytes, bytes]) -> None:
    _, _, whole = files
    digest = hashlib.sha256(whole).hexdigest()
    paths = tmp_path / "original", tmp_path / "statistics"
    loaded = load_checkpoint(paths[0], digest, statistics=paths[1])
    assert loaded.step == 9
    for name, tensor in load_file(tmp_path / "whole").items():
        assert torch.equal(loaded.network.state_dict()[name], tensor)


@pytest.mark.parametrize("change", ["fewer", "more", "wider", "type"])
def test_statistics_of_another_network_are_refused(
    tmp_path: Path, files: tuple[bytes, bytes, bytes], change: str
) -> None:
    original, statistics, _ = files
    held = load(statistics)
    if change == "fewer":
        held.pop("1.running_mean")
    if change == "more":
        held["9.running_mean"] = torch.zeros(3)
    if change == "wider":
        held["1.running_mean"] = torch.zeros(8)
    if change == "type":
        held["1.running_mean"] = torch.zeros(7, dtype=torch.float64)
    with pytest.raises(CheckpointRefused, match="not those of this network"):
        composed(original, save(held, {"step": "1"}))


def test_what_is_no_safetensors_file_is_refused(files: tuple[bytes, bytes, bytes]) -> None:
    original, _, _ = files
    for broken in (b"", b"\xff" * 64, (2).to_bytes(8, "little") + b"[]", b"\x08" + bytes(7) + b"x"):
        with pytest.raises(CheckpointRefused):
            composed(original, broken)
