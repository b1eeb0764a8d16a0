"""What is claimed of running statistics, on digits and on MNIST, with three seeds."""

from pathlib import Path
from typing import Any

import pytest

from model.lab.class_sorted_batches import experiment as class_sorted_batches
from model.lab.ema_against_precise import experiment as ema_against_precise
from model.lab.experiment import Experiment
from model.lab.normalization_batch_size import experiment as normalization_batch_size
from model.lab.report import Report
from model.lab.test_time_adaptation import experiment as time_adaptation
from tests.laboratory import MNIST, report_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

DATASETS = pytest.mark.parametrize("dataset", ["digits", "mnist"])


def report(experiment: Experiment, folder: Path, dataset: str, **params: Any) -> Report:
    if dataset == "mnist" and not MNIST.exists():
        pytest.skip("no MNIST")
    return report_of(experiment, folder, processes=2, dataset=dataset, **params)[0]


@DATASETS
def test_running_averages_lag_while_the_rate_is_high_and_catch_up(
    tmp_path: Path, dataset: str
) -> None:
    found = report(ema_against_precise.EXPERIMENT, tmp_path, dataset)
    difference, end = found.others[:2]
    assert found.effect.verdict == "supports"
    assert all(one.value is not None and one.value > 1 for one in difference.seeds)
    assert all(one.value is not None and one.value < 0 for one in end.seeds)  # 1 point


@DATASETS
def test_eval_mode_cannot_use_what_groups_of_two_have_taught(tmp_path: Path, dataset: str) -> None:
    found = report(normalization_batch_size.EXPERIMENT, tmp_path, dataset)
    assert found.effect.verdict == "supports"
    precise, training = found.others[:2]
    assert all(one.value is not None and one.value > 2 for one in precise.seeds)
    assert all(one.value is not None and one.value > 2 for one in training.seeds)


@DATASETS
def test_renorm_learns_from_batches_sorted_by_class(tmp_path: Path, dataset: str) -> None:
    found = report(class_sorted_batches.EXPERIMENT, tmp_path, dataset)
    wide, narrow = found.others[:2]
    assert all(one.value is not None and one.value > 2 for one in found.effect.seeds)
    assert all(one.value is not None and one.value > 5 for one in wide.seeds)
    for batch, renorm in zip(wide.seeds, narrow.seeds, strict=True):  # renorm's is less 2 points
        assert batch.value is not None
        assert renorm.value is not None
        assert abs(renorm.value + 2) < batch.value / 4


@DATASETS
def test_corrupted_rows_are_answered_better_by_their_own_statistics(
    tmp_path: Path, dataset: str
) -> None:
    found = report(time_adaptation.EXPERIMENT, tmp_path, dataset)
    assert all(one.value is not None and one.value > 2 for one in found.effect.seeds)
    mixture, clean, few_alone, _, one_class, _ = found.others
    assert all(one.value is not None and one.value > 0 for one in mixture.seeds)
    assert all(one.value is not None and one.value < 0.5 for one in clean.seeds)  # a point
    assert all(one.value is not None and one.value < -5 for one in few_alone.seeds)
    assert all(one.value is not None and one.value < -5 for one in one_class.seeds)
