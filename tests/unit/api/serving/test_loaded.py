"""Networks stay in memory within their bounds, and only whole files are loaded."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.serving.loaded import NO_ROWS, Networks
from api.telemetry import Telemetry
from core.local_files import LocalFiles
from model.checkpoint import Written
from model.data.dataset import Facts
from model.errors import ChecksumMismatch

ROWS = np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32)


@dataclass(frozen=True)
class Stored:
    id: str
    key: str
    sha256: str
    bytes: int
    statistics_key: str | None = None
    name: str | None = None
    norm_layers: int = 1
    spec: dict[str, Any] = field(default_factory=lambda: {"dataset": "any"})


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "files")


@pytest.fixture
def store(
    files: LocalFiles, write: Callable[..., Written], make_facts: Callable[..., Facts]
) -> Callable[..., Stored]:
    def put(number: int, **more: Any) -> Stored:
        written = write(make_facts(), name=f"c{number}", seed=number, batches=3, **more)
        key = f"runs/{number}.safetensors"
        size = written.path.stat().st_size
        files.put(written.path, key)
        layers = written.norm_layers
        return Stored(f"ckpt_{number}", key, written.sha256, size, norm_layers=layers)

    return put


def networks(
    files: LocalFiles,
    limit: int = 4,
    limit_bytes: int = 2**30,
    rows: Any = ROWS,
    telemetry: Telemetry | None = None,
) -> Networks:
    return Networks(files, lambda _, most: rows, telemetry or Telemetry(), limit, limit_bytes)


def test_a_network_is_loaded_and_made_ready_once(
    files: LocalFiles, store: Callable[..., Stored]
) -> None:
    held, stored = networks(files), store(1)
    assert held.get(stored) is held.get(stored)
    assert held.loaded(stored) is held.get(stored).predictor.loaded


def test_the_least_recently_used_leaves(files: LocalFiles, store: Callable[..., Stored]) -> None:
    held = networks(files, limit=2)
    one, two, three = (store(number) for number in (1, 2, 3))
    first, second = held.get(one), held.get(two)
    held.get(one)
    held.get(three)
    assert len(held) == 2
    assert held.get(one) is first
    assert held.get(two) is not second


def test_bytes_are_bounded_but_one_network_always_fits(
    files: LocalFiles, store: Callable[..., Stored]
) -> None:
    held = networks(files, limit_bytes=1)
    held.get(store(1))
    held.get(store(2))
    assert len(held) == 1


def test_a_folded_copy_counts(files: LocalFiles, store: Callable[..., Stored]) -> None:
    one, two = store(1), store(2)
    both = one.bytes + two.bytes
    for rows, expected in ((None, 2), (ROWS, 1)):
        held = networks(files, limit_bytes=both, rows=rows)
        held.get(one)
        held.get(two)
        assert len(held) == expected


def test_a_file_with_one_other_byte_is_never_used(
    files: LocalFiles, store: Callable[..., Stored]
) -> None:
    stored = store(1)
    path = files.local(stored.key)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for use in (networks(files).get, networks(files).loaded):
        with pytest.raises(ChecksumMismatch):
            use(stored)


def test_answers_are_folded_and_looks_see_the_network_as_trained(
    files: LocalFiles, store: Callable[..., Stored]
) -> None:
    held, stored = networks(files), store(1)
    looked_at = held.loaded(stored).network
    assert held.form(stored.id) is None
    ready = held.get(stored)
    assert held.form(stored.id) == ready.form
    assert (ready.form.folded, ready.form.refusal) == (True, None)
    assert ready.form.largest_difference == ready.predictor.comparison.difference < 1e-5
    assert held.loaded(stored).network is looked_at is not ready.predictor.network
    assert "BatchNorm" in str(looked_at)
    assert "BatchNorm" not in str(ready.predictor.network)


@pytest.mark.parametrize(
    ("norm", "rows", "folded", "refusal"),
    [
        ("batch", None, False, NO_ROWS),
        ("batch", ROWS[:, :3], False, "shape"),
        ("batch", np.full((9, 4), np.inf), False, "not finite"),
        ({"kind": "batch", "placement": "after_activation"}, ROWS, None, None),
        ("none", ROWS, None, None),
    ],
)
def test_what_is_not_folded_says_why(
    files: LocalFiles,
    store: Callable[..., Stored],
    norm: Any,
    rows: Any,
    folded: bool | None,
    refusal: str | None,
) -> None:
    form = networks(files, rows=rows).get(store(1, norm=norm)).form
    assert (form.folded, form.largest_difference) == (folded, None)
    assert form.refusal == refusal or refusal in form.refusal


def test_rows_are_asked_for_by_the_name_in_the_spec_and_only_for_batch_norm(
    files: LocalFiles, store: Callable[..., Stored]
) -> None:
    asked = []

    def rows_of(name: str, most: int) -> Any:
        asked.append((name, most))
        return ROWS[:most]

    held = Networks(files, rows_of, Telemetry(), 4, 2**30)
    assert held.get(store(1)).predictor.comparison.rows == 256
    held.get(store(2, norm="none"))
    assert asked == [("any", 256)]


def test_networks_in_memory_are_counted_by_form(
    files: LocalFiles, store: Callable[..., Stored]
) -> None:
    telemetry = Telemetry()

    def counted() -> dict[str, float]:
        lines = telemetry.text().decode().splitlines()
        mine = [line for line in lines if line.startswith("evalmode_loaded_networks{")]
        return {line.split('"')[1]: float(line.split()[-1]) for line in mine}

    held = networks(files, limit=2, telemetry=telemetry)
    held.loaded(store(1))
    assert counted() == {"folded": 0, "unfolded": 1, "refused": 0}
    held.get(store(2))
    assert counted() == {"folded": 1, "unfolded": 1, "refused": 0}
    held.get(store(3))
    assert counted() == {"folded": 2, "unfolded": 0, "refused": 0}
    lost = networks(files, rows=None, telemetry=telemetry)
    lost.get(store(4))
    assert counted() == {"folded": 0, "unfolded": 0, "refused": 1}
