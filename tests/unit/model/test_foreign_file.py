"""Files from elsewhere: hostile ones are refused before they cost anything."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from model.checkpoint import About, write
from model.data.builtin import build
from model.data.scaling import Scaling
from model.errors import CheckpointRefused
from model.foreign_file import MOST_HEADER_BYTES, MOST_TENSORS, open_foreign
from model.spec import RunSpec

WINE = build("wine")


def raw(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def floats(shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "three bytes": b"abc",
    "a header of 2**63 bytes": struct.pack("<Q", 2**63),
    "a header of 90 MB that is not there": struct.pack("<Q", 90_000_000) + b"{}",
    "no JSON": raw(b"nonsense"),
    "a list": raw(b"[]"),
    "100,000 nested lists": raw(b"[" * 100_000),
    "100,000 nested objects": raw(b'{"a":' * 100_000),
    "numbers for metadata": raw({"__metadata__": {"a": 1}}),
    "4 GB that are not there": raw({"a": floats([10**9], 0, 4 * 10**9)}, b"\0" * 8),
    "a shape beyond its bytes": raw({"a": floats([3], 0, 8)}, b"\0" * 8),
    "a shape beyond 2**64": raw({"a": floats([2**62, 4], 0, 0)}),
    "a negative shape": raw({"a": floats([-1], 0, 4)}, b"\0" * 4),
    "a hole": raw({"a": floats([1], 4, 8)}, b"\0" * 8),
    "an overlap": raw({"a": floats([2], 0, 8), "b": floats([2], 4, 12)}, b"\0" * 12),
    "bytes of nobody": raw({"a": floats([1], 0, 4)}, b"\0" * 9),
    "a type of nobody": raw({"a": floats([1], 0, 4) | {"dtype": "X9"}}, b"\0" * 4),
    "a surrogate": raw(b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_file_of_this_format_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CheckpointRefused):
        open_foreign(tmp_path / "x")


def test_a_header_that_would_take_too_much_is_not_parsed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(raw(b"{}" + b" " * MOST_HEADER_BYTES))
    with pytest.raises(CheckpointRefused) as refused:
        open_foreign(tmp_path / "x")
    assert refused.value.metadata["limit"] == MOST_HEADER_BYTES


def test_more_tensors_than_any_network_has_are_not_read(tmp_path: Path) -> None:
    header = {str(number): floats([0], 0, 0) for number in range(MOST_TENSORS + 1)}
    (tmp_path / "x").write_bytes(raw(header))
    with pytest.raises(CheckpointRefused) as refused:
        open_foreign(tmp_path / "x")
    assert refused.value.metadata == {"tensors": MOST_TENSORS + 1, "limit": MOST_TENSORS}


def test_tensors_are_those_of_the_file_and_survive_it(tmp_path: Path) -> None:
    given = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(2).half()}
    (tmp_path / "x").write_bytes(save(given, {"hello": "not JSON"}))
    found = open_foreign(tmp_path / "x")
    (tmp_path / "x").unlink()
    assert found.own is None
    assert found.tensors.keys() == given.keys()
    assert all(torch.equal(found.tensors[name], one) for name, one in given.items())


def own(tmp_path: Path, **about: Any) -> Path:
    spec = {"dataset": "wine", "network": {"kind": "mlp", "hidden": [2]}, "norm": "batch"}
    network = nn.Sequential(nn.Linear(13, 2), nn.BatchNorm1d(2), nn.Tanh(), nn.Linear(2, 3))
    scaling = Scaling.fit("standard", WINE.inputs, False)
    told = About(RunSpec.model_validate(spec), WINE.facts, scaling, 70, 71, **about)
    return write(tmp_path / "own", network.state_dict(), told).path


def test_a_file_of_ours_says_how_it_was_trained(tmp_path: Path) -> None:
    told = {"unknown_age": ("1",), "initial_share": 0.0, "is_averaged": True}
    frozen = {"1": f"sha256:{'0' * 64}"}
    found = open_foreign(own(tmp_path, **told, frozen=frozen)).own
    assert found is not None
    np.testing.assert_array_equal(found.scaling.shift, WINE.inputs.astype(np.float64).mean(0))
    assert vars(found.history) == told | {"step": 70, "batches": 71, "frozen": frozen}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scaling", "{}"),
        ("scaling", '{"kind": "magic", "divisor": 1, "shift": [0], "scale": [1]}'),
        ("scaling", '{"kind": "none", "divisor": [1], "shift": [0], "scale": [1]}'),
        ("scaling", '{"kind": "none", "divisor": 1, "shift": ["a"], "scale": [1]}'),
        ("scaling", '{"kind": "none", "divisor": 1, "shift": [[1], [1, 2]], "scale": [1]}'),
        ("scaling", '{"kind": "none", "divisor": 1, "shift": [true], "scale": [1]}'),
        ("scaling", "[" * 100_000),
        ("step", "-1"),
        ("step", "1e9"),
        ("step", str(2**70)),
        ("batches", '"many"'),
        ("frozen", '["1"]'),
        ("frozen", '{"1": "sha256:x"}'),
        ("frozen", '{"1": "\\ud800"}'),
        ("unknown_age", '["\\ud800"]'),
        ("unknown_age", "7"),
        ("averaged", '"yes"'),
        ("initial_share", "NaN"),
        ("format_version", "?"),
    ],
)
def test_words_that_we_would_not_have_written_are_refused(
    tmp_path: Path, name: str, text: str
) -> None:
    metadata = {"format_version": "1", "step": "1"}
    metadata["scaling"] = '{"kind": "none", "divisor": 1, "shift": [0], "scale": [1]}'
    for given, is_good in ((metadata, True), (metadata | {name: text}, False)):
        (tmp_path / "x").write_bytes(save({"a": torch.zeros(1)}, given))
        if is_good:
            assert open_foreign(tmp_path / "x").own is not None
        else:
            with pytest.raises(CheckpointRefused):
                open_foreign(tmp_path / "x")
