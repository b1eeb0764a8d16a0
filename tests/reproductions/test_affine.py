"""Gain and bias of batch norm on two-dimensional spirals, with three seeds."""

import pytest

from model.lab.affine.experiment import EXPERIMENT
from model.lab.report import Report
from tests.laboratory import report_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return report_of(EXPERIMENT, tmp_path_factory.mktemp("affine"), processes=2)[0]


def test_one_layer_cannot_fit_the_spirals_without_gain_and_bias(report: Report) -> None:
    assert report.effect.verdict == "supports"
    assert all(one.value is not None and one.value > 20 for one in report.effect.seeds)


def test_gain_and_bias_give_back_more_than_half_of_what_is_lost(report: Report) -> None:
    assert report.others[0].verdict == "supports"


def test_behind_the_activation_nothing_is_lost(report: Report) -> None:
    behind = [one for one in report.others if "norm behind" in one.declared.name]
    assert len(behind) == 4
    for effect in behind:
        assert all(one.value is not None and abs(one.value) < 3 for one in effect.seeds)
