"""A run whose running statistics lag, and the same weights after one recalibration.

Two datasets as they are, without scaling, and a momentum of 0.001: after 300 steps 74 % of
the first 0 and 1 are still in the running statistics, and eval mode gives one class to all rows
of the one and is several points worse on the other.

What the repair is compared with, batch statistics of the whole test split, is a sample, too:
of 114 rows of breast_cancer. Split 2 is one where it is near; the others have a test with wider
bounds. Unscaled rows also let the last batch of an epoch, of 7 rows, undo what was learned,
whatever the statistics; with `tail: merge` none of the splits and seeds here suffers from it.

One row of these 114 is 0.9 points, and which rows are right differs from one model of CPU to the
next. So the mean is over 20 seeds (its standard error is a quarter of a point), and a repair may
answer better than the sample that it is compared with.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoint import About, Loaded, load, write
from model.data.builtin import build as build_dataset
from model.data.split import rows as split_rows
from model.plan import Limits, check
from model.predict import Predictor
from model.recalibrate import Recalibration, recalibrated
from model.spec import RunSpec
from model.statistics.fingerprint import weights_hash
from model.statistics.modes import batch_statistics
from model.training.arrays import prepare
from model.training.loop import Training

SEEDS, MANY_SEEDS = range(5), range(20)
LOST = {"breast_cancer": 40.0, "digits": 5.0}  # points of accuracy that the lag costs at least
CPU = torch.device("cpu")


def trained(name: str, hidden: list[int], seed: int, path: Path, **fields: Any) -> Loaded:
    body: dict[str, Any] = {
        "dataset": name,
        "network": {"kind": "mlp", "hidden": hidden, "activation": "tanh"},
        "norm": {"kind": "batch", "momentum": 0.001},
        "init": {"kind": "xavier_normal"},
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "batch_size": 32,
        "budget": {"steps": 300},
        "seed": seed,
        **fields,
    }
    dataset = build_dataset(name)
    checked = check(RunSpec.model_validate(body), dataset.facts, Limits(10**12, 10**15))
    arrays = prepare(dataset, checked.spec, CPU)
    end = list(Training(checked, arrays, CPU).run())[-1]
    assert end.kept is not None
    about = About(checked.spec, dataset.facts, arrays.scaling, end.kept.step)
    return load(write(path, end.kept.tensors, about).path)


def measure(name: str, hidden: list[int], seed: int, folder: Path, **fields: Any) -> list[int]:
    """Test rows that are right by batch statistics, in eval mode, and in eval mode repaired."""
    loaded = trained(name, hidden, seed, folder / "trained", **fields)
    dataset = build_dataset(name)
    parts = split_rows(dataset.facts, dataset.targets, loaded.spec.split)
    rows, targets = dataset.inputs[parts.test], dataset.targets[parts.test]

    made = recalibrated(loaded, dataset.inputs[parts.train], Recalibration("precise"))
    about = About(loaded.spec, loaded.facts, loaded.scaling, loaded.step)
    repaired = load(write(folder / "repaired", made.tensors, about).path)

    assert weights_hash(made.tensors) == weights_hash(loaded.network.state_dict())
    scaled = torch.from_numpy(loaded.scaling.apply(rows, dtype=np.float32))
    with torch.no_grad(), batch_statistics(loaded.network):
        by_batch = loaded.network(scaled).numpy()
    answers = (by_batch, Predictor(loaded).logits(rows), Predictor(repaired).logits(rows))
    return [int((logits.argmax(1) == targets).sum()) for logits in answers]


@pytest.fixture(params=[[100], [100, 100]], ids=["one layer", "two layers"])
def hidden(request: pytest.FixtureRequest) -> list[int]:
    answer: list[int] = request.param
    return answer


def points(name: str, right: np.ndarray) -> Any:
    """Mean accuracies over the seeds, in points."""
    dataset, split = build_dataset(name), RunSpec.model_fields["split"].default
    test_rows = len(split_rows(dataset.facts, dataset.targets, split).test)
    return (100 * right / test_rows).mean(0)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOST)
def test_one_recalibration_brings_back_what_lagging_statistics_lost(
    name: str, hidden: list[int], tmp_path: Path
) -> None:
    fields: dict[str, Any] = {"scaling": "none", "split": {"seed": 2}}
    right = np.array([measure(name, hidden, seed, tmp_path, **fields) for seed in MANY_SEEDS])
    by_batch, lagging, repaired = points(name, right)

    assert by_batch - lagging >= LOST[name]
    assert repaired >= by_batch - 0.5
    assert (right[:, 2] >= right[:, 0] - 4).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", LOST)
def test_with_standard_inputs_the_same_lag_costs_nothing(
    name: str, hidden: list[int], tmp_path: Path
) -> None:
    right = np.array([measure(name, hidden, seed, tmp_path) for seed in SEEDS])
    by_batch, lagging, repaired = points(name, right)

    assert abs(by_batch - lagging) <= 1
    assert abs(by_batch - repaired) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("split", [0, 1])
@pytest.mark.parametrize("name", LOST)
def test_on_other_splits_the_repair_is_as_good_as_batch_statistics_are_known(
    name: str, split: int, hidden: list[int], tmp_path: Path
) -> None:
    fields: dict[str, Any] = {"scaling": "none", "split": {"seed": split}, "tail": "merge"}
    right = np.array([measure(name, hidden, seed, tmp_path, **fields) for seed in SEEDS])
    by_batch, lagging, repaired = points(name, right)

    assert by_batch - lagging >= LOST[name]
    assert abs(by_batch - repaired) <= 1.5
    assert (np.abs(right[:, 0] - right[:, 2]) <= 3).all()
