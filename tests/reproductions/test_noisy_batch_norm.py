"""Figure 2 of Santurkar et al. 2018 in a small network, on digits and on MNIST: three seeds."""

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from model.lab.noisy_batch_norm.experiment import EXPERIMENT
from model.lab.noisy_batch_norm.plan import ARMS
from model.lab.report import Report
from tests.laboratory import MNIST, report_of

MNIST_EVERY = 25  # steps between two evaluations of 10,000 rows
SETTINGS: dict[str, dict[str, Any]] = {
    "digits, lr 0.5": {"dataset": "digits", "lr": [0.5]},
    "mnist, lr 0.1": {"dataset": "mnist", "lr": [0.1], "evaluate_every": MNIST_EVERY},
    "mnist, lr 0.5": {"dataset": "mnist", "lr": [0.5], "evaluate_every": MNIST_EVERY},
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module", params=SETTINGS)
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Report:
    setting = SETTINGS[request.param]
    if setting["dataset"] == "mnist" and not MNIST.exists():
        pytest.skip("no MNIST")
    folder: Path = tmp_path_factory.mktemp("noisy")
    return report_of(EXPERIMENT, folder, processes=2, **setting)[0]


def test_noisy_batch_norm_trains_far_better_than_no_norm(report: Report) -> None:
    assert all(one.value is not None and one.value > 0 for one in report.effect.seeds)
    assert report.effect.verdict == "supports"


def test_batch_norm_is_not_more_than_a_point_behind_noisy_batch_norm(report: Report) -> None:
    early = next(table for table in report.tables if table.name == "early")
    means = {arm: _numbers(row[1:-1]) for arm, row in zip(ARMS, early.rows, strict=True)}
    assert fmean(means["batch"]) >= fmean(means["noisy_batch"]) - 1


def test_the_noise_moves_the_inputs_of_units_that_batch_norm_kept_still(report: Report) -> None:
    wanders = next(one for one in report.others if one.declared.name.endswith("/ batch"))
    assert wanders.verdict == "supports"


def _numbers(cells: tuple[Any, ...]) -> list[float]:
    return [float(cell) for cell in cells]
