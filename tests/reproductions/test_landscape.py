"""Figure 4 of Santurkar et al. 2018 in a small network, on digits and MNIST, three seeds each."""

from typing import Any

import pytest

from model.lab.landscape.experiment import EXPERIMENT
from model.lab.report import Report
from tests.laboratory import MNIST, report_of

NARROWER = {"digits": 10.0, "mnist": 3.0}  # the band of the loss with batch norm, times

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module", params=list(NARROWER))
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Report]:
    dataset: str = request.param
    if dataset == "mnist" and not MNIST.exists():
        pytest.skip("no MNIST")
    asked: dict[str, Any] = {"dataset": dataset}
    return dataset, report_of(EXPERIMENT, tmp_path_factory.mktemp(dataset), processes=2, **asked)[0]


def test_the_band_of_the_loss_is_narrower_with_batch_norm(made: tuple[str, Report]) -> None:
    dataset, report = made
    values = [one.value for one in report.effect.seeds]
    assert len(values) == 3
    assert all(value is not None and value >= NARROWER[dataset] for value in values)
    assert report.effect.verdict == "supports"
