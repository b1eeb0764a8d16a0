"""Statistics adapted to a few unlabelled digits, with and without a loss of contrast.

The loss of contrast here also lifts the dark background, which is far outside of what training
saw: from four rows on, forgetting the source (N = 0) is then as good as any mixture.
"""

import copy
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from model.data.builtin import build as build_dataset
from model.plan import Limits, check
from model.spec import RunSpec
from model.statistics.adapt import adapted
from model.statistics.modes import batch_norms
from model.training.arrays import prepare
from model.training.loop import Training

CPU = torch.device("cpu")
TARGET_ROWS = [1, 4, 8, 128, 256]
SOURCE_ROWS = [0, 4, 8, 16, 32, 64, math.inf]  # the last is no adaptation
SEEDS = range(2)
CHUNKS = 40  # of target rows, each with statistics of its own

Accuracies = dict[str, dict[tuple[int, float], float]]


def chunks(rows: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of chunks of exactly `size` rows, from several shuffles if need be."""
    generator = np.random.default_rng(seed)
    made = 0
    while made < CHUNKS and made * size < 4 * rows:
        order = generator.permutation(rows)
        for start in range(0, rows - size + 1, size):
            if made < CHUNKS:
                yield order[start : start + size]
                made += 1


def measure(seed: int) -> Accuracies:
    """Points of accuracy by domain, target rows n and weight N, of one trained network."""
    dataset = build_dataset("digits")
    network = {"kind": "mlp", "hidden": [100, 100]}
    body = {
        "dataset": "digits",
        "scaling": "none",
        "network": network,
        "norm": "batch",
        "seed": seed,
    }
    checked = check(RunSpec.model_validate(body), dataset.facts, Limits(10**12, 10**15))
    training = Training(checked, arrays := prepare(dataset, checked.spec, CPU), CPU)
    list(training.run())
    source = training.network.eval().requires_grad_(False)
    working, targets = copy.deepcopy(source), arrays.test.classes
    assert targets is not None
    clean = arrays.test.inputs.numpy().astype(float) * arrays.scaling.scale + arrays.scaling.shift
    domains = {"clean": clean, "contrast": 0.3 * clean + 0.35 * 16}  # pixels reach 16
    found: Accuracies = {}
    for domain, raw in domains.items():
        rows = torch.from_numpy(arrays.scaling.apply(raw))
        found[domain] = {}
        for n in TARGET_ROWS:
            for weight in SOURCE_ROWS:
                right = total = 0
                for some in chunks(len(rows), n, seed):
                    for name, statistics in adapted(source, (rows[some],), weight).items():
                        statistics.put_into(batch_norms(working)[name])
                    right += int((working(rows[some]).argmax(1) == targets[some]).sum())
                    total += n
                found[domain][n, weight] = 100 * right / total
    return found


@pytest.fixture(scope="module")
def accuracy() -> Accuracies:
    measured = [measure(seed) for seed in SEEDS]
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

    for n in TARGET_ROWS:
        assert max(clean[n, weight] for weight in SOURCE_ROWS) <= clean[n, NONE] + 1


@pytest.mark.slow
def test_on_shifted_rows_a_mixture_beats_no_adaptation(accuracy: Accuracies) -> None:
    shifted = accuracy["contrast"]

    for n in (4, 8):
        assert max(shifted[n, weight] for weight in BETWEEN) > shifted[n, NONE] + 10


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["clean", "contrast"])
def test_with_many_target_rows_the_source_can_be_forgotten(
    accuracy: Accuracies, domain: str
) -> None:
    for n in (128, 256):
        best = max(accuracy[domain][n, weight] for weight in SOURCE_ROWS)
        assert accuracy[domain][n, 0] >= best - 1.5
