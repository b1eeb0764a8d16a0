"""A checkpoint file: deterministic, strict, never without its running statistics."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from model.checkpoint import About, Written, load, write
from model.data.builtin import build as build_dataset
from model.errors import (
    CheckpointRefused,
    ChecksumMismatch,
    ShapeMismatch,
    StatisticsChanged,
    StatisticsMissing,
)
from model.plan import Limits, check
from model.predict import Predictor
from model.spec import RunSpec
from model.statistics.fingerprint import fingerprint
from model.training.arrays import prepare
from model.training.loop import Training

DIGITS = build_dataset("digits")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """digits, 64-20-10 tanh with batch norm, 90 steps."""
    body = {
        "dataset": "digits",
        "network": {"kind": "mlp", "hidden": [20]},
        "norm": "batch",
        "budget": {"epochs": 2},
    }
    spec = check(RunSpec.model_validate(body), DIGITS.facts, Limits(10**12, 10**15))
    arrays = prepare(DIGITS, spec.spec, torch.device("cpu"))
    end = list(Training(spec, arrays, torch.device("cpu")).run())[-1]
    assert end.kept is not None
    path = tmp_path_factory.mktemp("checkpoint") / "one.safetensors"
    about = About(spec.spec, DIGITS.facts, arrays.scaling, end.kept.step)
    return write(path, end.kept.tensors, about)


def rewritten(written: Written, to: Path, change: Any) -> Path:
    """A copy whose tensors and metadata went through `change`."""
    tensors = load_file(written.path)
    with safe_open(written.path, "pt") as file:
        metadata = file.metadata()
    change(tensors, metadata)
    save_file(tensors, to, metadata)
    return to


def test_it_loads_strictly_into_layers_written_by_hand_and_gives_the_same_logits(
    trained: Written,
) -> None:
    network = nn.Sequential(
        nn.Linear(64, 20), nn.BatchNorm1d(20), nn.Tanh(), nn.Linear(20, 10)
    ).eval()
    network.load_state_dict(load_file(trained.path), strict=True)
    loaded = load(trained.path, trained.sha256)
    rows = DIGITS.inputs[:50]
    with torch.no_grad():
        expected = network(torch.from_numpy(loaded.scaling.apply(rows, dtype=np.float32)))
    np.testing.assert_allclose(
        Predictor(loaded).logits(rows), expected.numpy(), rtol=0, atol=1e-5 * float(expected.max())
    )


def test_the_metadata_carries_spec_scaling_classes_and_format_version(trained: Written) -> None:
    with safe_open(trained.path, "pt") as file:
        metadata = {name: json.loads(text) for name, text in file.metadata().items()}
    assert metadata["format_version"] == 1
    assert metadata["classes"] == [str(digit) for digit in range(10)]
    assert metadata["spec"]["network"]["hidden"] == [20]
    assert metadata["scaling"]["kind"] == "standard"
    assert metadata["statistics"] == trained.statistics
    assert metadata["step"] == 90


def test_equal_checkpoints_are_equal_files_in_every_process(
    trained: Written, tmp_path: Path
) -> None:
    script = (
        "import sys; from pathlib import Path; from safetensors.torch import load_file\n"
        "from model.checkpoint import About, load, write\n"
        "one = load(Path(sys.argv[1]))\n"
        "about = About(one.spec, one.facts, one.scaling, one.step)\n"
        "print(write(Path(sys.argv[2]), load_file(sys.argv[1]), about).sha256)"
    )
    command = [sys.executable, "-c", script, str(trained.path), str(tmp_path / "again")]
    for _ in range(3):
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        assert answer.stdout.strip() == trained.sha256


def test_one_norm_layer_is_counted_and_its_tensors_have_pytorchs_names(trained: Written) -> None:
    assert trained.norm_layers == 1
    assert {name for name in load_file(trained.path) if name.startswith("1.")} == {
        "1.weight",
        "1.bias",
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    }


@pytest.mark.parametrize("name", ["1.running_mean", "1.running_var", "1.num_batches_tracked"])
def test_a_file_without_a_statistic_is_refused_by_name(
    trained: Written, tmp_path: Path, name: str
) -> None:
    path = rewritten(trained, tmp_path / "x", lambda tensors, _: tensors.pop(name))
    with pytest.raises(StatisticsMissing, match=name.replace(".", r"\.")):
        load(path)


def test_statistics_that_are_not_those_of_the_fingerprint_are_refused(
    trained: Written, tmp_path: Path
) -> None:
    path = rewritten(trained, tmp_path / "x", lambda tensors, _: tensors["1.running_mean"].add_(1))
    with pytest.raises(StatisticsChanged, match="fingerprint") as refusal:
        load(path)
    assert refusal.value.metadata["recorded"] == trained.statistics
    assert refusal.value.metadata["found"] == fingerprint(load_file(path))


def test_weights_of_another_network_are_refused(trained: Written, tmp_path: Path) -> None:
    path = rewritten(
        trained, tmp_path / "x", lambda tensors, _: tensors.update({"0.weight": torch.ones(20, 63)})
    )
    with pytest.raises(ShapeMismatch, match=r"expected \(20, 64\) torch.float32, got \(20, 63\)"):
        load(path)
    path = rewritten(trained, tmp_path / "y", lambda tensors, _: tensors.pop("0.bias"))
    with pytest.raises(ShapeMismatch, match=r"missing \['0.bias'\]"):
        load(path)


@pytest.mark.parametrize("place", [8, 500, -1])
def test_one_flipped_bit_is_noticed(trained: Written, tmp_path: Path, place: int) -> None:
    content = bytearray(trained.path.read_bytes())
    content[place] ^= 1
    damaged = tmp_path / "x"
    damaged.write_bytes(content)
    with pytest.raises(ChecksumMismatch):
        load(damaged, trained.sha256)


@pytest.mark.parametrize("length", [0, 7, 100, 5000])
def test_a_cut_file_is_refused(trained: Written, tmp_path: Path, length: int) -> None:
    damaged = tmp_path / "x"
    damaged.write_bytes(trained.path.read_bytes()[:length])
    with pytest.raises(CheckpointRefused):
        load(damaged)


def test_another_format_version_is_refused(trained: Written, tmp_path: Path) -> None:
    path = rewritten(trained, tmp_path / "x", lambda _, meta: meta.update(format_version="2"))
    with pytest.raises(CheckpointRefused, match="format version 1"):
        load(path)
