"""Figure 1 of Ioffe and Szegedy 2015 on digits and on MNIST, with three seeds."""

from pathlib import Path
from typing import Any

import pytest

from model.lab.ioffe_mnist.experiment import EXPERIMENT
from model.lab.report import Report
from tests.laboratory import MNIST, report_of

MNIST_EVERY = 20  # steps between two evaluations of 10,000 rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module", params=["digits", "mnist"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder: Path = tmp_path_factory.mktemp("ioffe")
    if request.param == "digits":
        return report_of(EXPERIMENT, folder, processes=2)[0]
    if not MNIST.exists():
        pytest.skip("no MNIST")
    asked: dict[str, Any] = {"dataset": "mnist", "evaluate_every": MNIST_EVERY}
    return report_of(EXPERIMENT, folder, processes=2, **asked)[0]


def test_batch_norm_needs_at_most_a_third_of_the_steps_at_both_rates(report: Report) -> None:
    for effect in (report.effect, report.others[0]):
        assert [one.value is not None and one.value <= 1 / 3 for one in effect.seeds] == [True] * 3
        assert effect.verdict == "supports"


def test_a_small_start_stays_at_chance_without_norm(report: Report) -> None:
    effect = report.others[-1]
    assert effect.declared.name.startswith("highest test accuracy without norm, sigma 0.01, lr 0.1")
    assert effect.n == 3
    assert effect.verdict == "supports"


def test_the_median_of_a_sigmoids_input_drifts_less_with_batch_norm(report: Report) -> None:
    drift = next(one for one in report.others if "median" in one.declared.name)
    assert all(one.value is not None and one.value < 1 for one in drift.seeds)
