"""The post's network starts as saturated as its closed form says, and batch norm unsaturates it."""

from pathlib import Path

import pytest

from model.lab.saturation.experiment import EXPERIMENT
from tests.laboratory import report_of


@pytest.mark.slow
def test_shares_of_saturated_values_are_those_of_the_closed_forms(tmp_path: Path) -> None:
    report, _ = report_of(EXPERIMENT, tmp_path, (0, 1, 2), processes=2)
    assert report.effect.verdict == "supports"
    (table,) = [one for one in report.tables if one.name == "closed-forms"]
    found = [(str(arm), share) for arm, _, share, *_ in table.rows]
    published = {
        "none": (90.6, 2.0),
        "none, fan-in 30": (62.9, 2.0),
        "batch": (0.81, 0.2),
        "batch, fan-in 30": (0.81, 0.2),
    }
    assert {arm for arm, _ in found} == set(published)
    assert len(found) == 3 * len(published)
    for arm, share in found:
        expected, within = published[arm]
        assert share == pytest.approx(expected, abs=within), arm
    dead = [one for one in report.others if one.declared.name.startswith("dead units")]
    assert [one.verdict for one in dead] == ["contradicts", "contradicts"]
