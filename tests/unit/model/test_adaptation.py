"""Statistics adapted to a few unlabelled rows, with and without a loss of contrast.

Pixels keep four tenths of their value. On digits the rows are the test split, drawn again and
again; on MNIST its 10,000 test rows.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from model.data.builtin import build as build_dataset
from model.data.dataset import Dataset
from model.data.options import ReadOptions
from model.data.readers import read
from model.plan import Limits, check
from model.spec import RunSpec
from model.statistics.adapt import adapted
from model.statistics.modes import batch_norms
from model.training.arrays import prepare
from model.training.loop import Training

CPU = torch.device("cpu")
TARGET_ROWS = {"digits": [1, 4, 8, 128, 256], "mnist": [1, 4, 8, 128, 512]}
SOURCE_ROWS = [0, 4, 8, 16, 32, 64, math.inf]  # the last is no adaptation
SEEDS = range(2)
MOST_SCORED = 2_000  # rows in a cell, each in a chunk with statistics of its own
MOST_CHUNKS = 120  # in a cell
CONTRAST = 0.4

Accuracies = dict[str, dict[tuple[int, float], float]]


@dataclass(frozen=True)
class Rows:
    """What a network is trained on, and the rows that it meets afterwards."""

    train: Dataset
    split: dict[str, float]
    test: Dataset | None  # None: the split's own test rows


def digits(_: Path) -> Rows:
    return Rows(build_dataset("digits"), {}, None)


def mnist(data: Path) -> Rows:
    folder = data / "mnist"
    train, test = (
        read(
            "idx",
            folder / f"{part}-images-idx3-ubyte.gz",
            ReadOptions(targets_path=folder / f"{part}-labels-idx1-ubyte.gz"),
        )
        for part in ("train", "t10k")
    )
    return Rows(train, {"test": 0}, test)


def chunks(rows: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of chunks of exactly `size` rows, from several shuffles if need be."""
    generator = np.random.default_rng(seed)
    left = min(MOST_CHUNKS, math.ceil(MOST_SCORED / size))
    while left > 0:
        order = generator.permutation(rows)
        for start in range(0, min(rows - size + 1, left * size), size):
            yield order[start : start + size]
            left -= 1


def measure(given: Rows, sizes: list[int], seed: int) -> Accuracies:
    """Points of accuracy by domain, target rows n and weight N, of one trained network."""
    body = {
        "dataset": "given",
        "split": given.split,
        "scaling": "none",
        "network": {"kind": "mlp", "hidden": [100, 100]},
        "norm": "batch",
        "seed": seed,
        "budget": {"steps": 1500},
    }
    checked = check(RunSpec.model_validate(body), given.train.facts, Limits(10**12, 10**15))
    training = Training(checked, arrays := prepare(given.train, checked.spec, CPU), CPU)
    list(training.run())
    source = training.network.eval().requires_grad_(False)
    working, found = copy.deepcopy(source), Accuracies()
    clean, targets = arrays.test.inputs, arrays.test.classes
    if given.test is not None:
        clean = torch.from_numpy(arrays.scaling.apply(given.test.inputs))
        targets = torch.from_numpy(given.test.targets)
    assert targets is not None
    # The scaling is none, at most a division: less contrast before it is less behind it.
    for domain, rows in {"clean": clean, "contrast": CONTRAST * clean}.items():
        found[domain] = {}
        for n in sizes:
            for weight in SOURCE_ROWS:
                right = total = 0
                for some in chunks(len(rows), n, seed):
                    for name, statistics in adapted(source, (rows[some],), weight).items():
                        statistics.put_into(batch_norms(working)[name])
                    right += int((working(rows[some]).argmax(1) == targets[some]).sum())
                    total += n
                found[domain][n, weight] = 100 * right / total
    return found


@pytest.fixture(scope="module", params=[digits, mnist])
def accuracy(request: pytest.FixtureRequest, test_data: Path) -> Accuracies:
    given, sizes = request.param(test_data), TARGET_ROWS[request.param.__name__]
    measured = [measure(given, sizes, seed) for seed in SEEDS]
    return {
        domain: {key: float(np.mean([one[domain][key] for one in measured])) for key in values}
        for domain, values in measured[0].items()
    }


BETWEEN = [weight for weight in SOURCE_ROWS if 0 < weight < math.inf]
NONE = math.inf


@pytest.mark.slow
def test_on_clean_rows_a_few_of_them_alone_are_worse_than_the_source(accuracy: Accuracies) -> None:
    clean = accuracy["clean"]

    for n in (1, 4):
        assert clean[n, 0] < clean[n, NONE] - 5


@pytest.mark.slow
def test_on_clean_rows_no_weight_gains_more_than_a_point(accuracy: Accuracies) -> None:
    clean = accuracy["clean"]

    for n, weight in clean:
        assert clean[n, weight] <= clean[n, NONE] + 1


@pytest.mark.slow
def test_on_shifted_rows_a_mixture_beats_both_the_few_rows_alone_and_no_adaptation(
    accuracy: Accuracies,
) -> None:
    shifted = accuracy["contrast"]

    for n in (4, 8):
        best = max(shifted[n, weight] for weight in BETWEEN)
        assert best > shifted[n, 0]
        assert best > shifted[n, NONE]


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["clean", "contrast"])
def test_with_many_target_rows_the_source_can_be_forgotten(
    accuracy: Accuracies, domain: str
) -> None:
    of_domain = accuracy[domain]

    for n in {n for n, _ in of_domain if n >= 128}:
        assert of_domain[n, 0] >= max(of_domain[n, weight] for weight in SOURCE_ROWS) - 1.5
