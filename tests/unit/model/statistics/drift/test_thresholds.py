"""Calibration against its definition, and what it promises of clean and shifted rows."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.blocks import MOST_ROWS
from model.data.builtin import build as build_dataset
from model.data.dataset import Dataset
from model.data.options import ReadOptions
from model.data.readers import read
from model.plan import Limits, check
from model.spec import RunSpec
from model.statistics.drift.reference import reference, running
from model.statistics.drift.rows import Sums
from model.statistics.drift.scores import channel_scores
from model.statistics.drift.thresholds import Thresholds, calibrate, row_tables, window_sizes
from model.training.arrays import Arrays, prepare
from model.training.loop import Training


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        (255, ()),
        (256, (32,)),
        (511, (32,)),
        (512, (32, 64)),
        (10_000, (32, 64, 128, 256, 512, 1024)),
    ],
)
def test_sizes_double_up_to_an_eighth_of_the_rows(rows: int, sizes: tuple[int, ...]) -> None:
    assert window_sizes(rows) == sizes


def test_a_threshold_is_the_stated_percentile_of_windows_drawn_one_by_one(make_network) -> None:
    network = make_network()
    rows = torch.randn(600, 6, generator=seeded(1))
    found = calibrate(network, running(network), rows, 128, seeded(2))
    assert found.sizes == (32, 64)
    one = running(network)[0]
    values = network[0](rows).double()
    draws = torch.randint(600, (2_000, 64), generator=seeded(3))
    windows = values[draws]
    v, w = one.variance, windows.var(1)
    both = v / w + w / v - 2 + (windows.mean(1) - one.mean) ** 2 * (1 / v + 1 / w)
    expected = 1.25 * np.quantile((both / 4).mean(1).numpy(), 0.999)
    assert found.by_size[64][0] == pytest.approx(expected, rel=0.15)  # other draws


def test_equal_generators_give_equal_thresholds_and_leave_the_global_one(make_network) -> None:
    network = make_network(norm="none").train()
    rows = torch.randn(256, 6, generator=seeded(1))
    references = reference(network, rows, 64)
    state = torch.get_rng_state()
    first = calibrate(network, references, rows, 64, seeded(2))
    assert calibrate(network, references, rows, 64, seeded(2)) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in network.modules())
    assert Thresholds.from_json(json.loads(json.dumps(first.to_json()))) == first


def test_a_layer_without_any_spread_gets_a_threshold_above_zero(make_network) -> None:
    network = make_network(norm="none")
    rows = torch.ones(256, 6)
    found = calibrate(network, reference(network, rows, 64), rows, 64, seeded(1))
    assert all(value > 0 for value in found.by_size[32])


@pytest.mark.parametrize(("dataset", "rows"), [("digits", 143), ("breast_cancer", 45)])
def test_a_tenth_of_a_small_training_split_is_uncalibrated(dataset: str, rows: int) -> None:
    training, arrays = trained(build_dataset(dataset), 0, 50)
    kept = arrays.train.inputs[: len(arrays.train) // 10]
    references = running(training.network)
    found = calibrate(training.network, references, kept, MOST_ROWS, seeded(1))
    assert (found.rows, found.sizes, found.is_calibrated) == (rows, (), False)
    assert found.to_json()["state"] == "uncalibrated"


def trained(
    built: Dataset, seed: int, steps: int, split: dict[str, float] | None = None
) -> tuple[Training, Arrays]:
    body: dict[str, Any] = {
        "dataset": "given",
        "split": split or {},
        "network": {"kind": "mlp", "hidden": [32, 32], "activation": "relu"},
        "norm": "batch",
        "budget": {"steps": steps},
        "seed": seed,
    }
    checked = check(RunSpec.model_validate(body), built.facts, Limits(10**12, 10**15))
    arrays = prepare(built, checked.spec, torch.device("cpu"))
    training = Training(checked, arrays, torch.device("cpu"))
    list(training.run())
    return training, arrays


def alarms(
    found: Thresholds, references: Any, tables: list[Sums], draws: Tensor, size: int
) -> float:
    """Share of windows, rows of `draws`, in which some layer is over its threshold."""
    over = torch.zeros(len(draws), dtype=torch.bool)
    for index, (one, table) in enumerate(zip(references, tables, strict=True)):
        sums = Sums(table.first[draws].sum(1), table.second[draws].sum(1))
        scores = channel_scores(one, *sums.moments(size)).mean(1)
        over |= scores > found.by_size[size][index]
    return over.double().mean().item()


@dataclass(frozen=True)
class Judged:
    """A trained network, and rows that neither trained nor tested it."""

    network: nn.Module
    calibration: Tensor  # 10,000 scaled rows
    fresh: Tensor  # and 10,000 more


def of_two_classes(seed: int, _: Path) -> Judged:
    training, arrays = trained(build_dataset("two_class_500"), seed, 600)
    x = np.random.default_rng(seed).standard_normal((20_000, 500)).astype(np.float32)
    rows = torch.from_numpy(arrays.scaling.apply(x))
    return Judged(training.network, rows[:10_000], rows[10_000:])


def of_mnist(seed: int, test_data: Path) -> Judged:
    """60,000 rows, of which 10,000 calibrate; the fresh ones are MNIST's own test rows."""
    folder = test_data / "mnist"
    parts = {
        part: read(
            "idx",
            folder / f"{part}-images-idx3-ubyte.gz",
            ReadOptions(targets_path=folder / f"{part}-labels-idx1-ubyte.gz"),
        )
        for part in ("train", "t10k")
    }
    training, arrays = trained(parts["train"], seed, 600, {"test": 0, "calibration": 1 / 6})
    fresh = torch.from_numpy(arrays.scaling.apply(parts["t10k"].inputs))
    assert len(arrays.calibration) == len(fresh) == 10_000
    return Judged(training.network, arrays.calibration.inputs, fresh)


@pytest.mark.slow
@pytest.mark.parametrize("source", [of_two_classes, of_mnist])
def test_clean_windows_are_quiet_and_half_a_deviation_alarms(source, test_data: Path) -> None:
    """1,000 windows of each size and 5 seeds; all inputs are moved by half a deviation."""
    false: dict[int, list[float]] = {}
    caught = []
    for seed in range(5):
        one = source(seed, test_data)
        references = running(one.network)
        found = calibrate(one.network, references, one.calibration, MOST_ROWS, seeded(seed))
        moved = one.fresh + 0.5 * one.fresh.std()
        tables = [
            row_tables(one.network, references, rows, MOST_ROWS)[0] for rows in (one.fresh, moved)
        ]
        for size in found.sizes:
            draws = torch.randint(10_000, (1_000, size), generator=seeded(100 + seed))
            false.setdefault(size, []).append(alarms(found, references, tables[0], draws, size))
            if size == 128:
                caught.append(alarms(found, references, tables[1], draws, size))
    for shares in false.values():
        assert np.mean(shares) <= 0.01
        assert max(shares) <= 0.03
    assert np.mean(caught) >= 0.9
