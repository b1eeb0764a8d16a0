"""First features that tell no rows apart."""

from pathlib import Path

import numpy as np
import pytest

from model.data.dataset import describe, save
from model.lab.experiment import Experiment
from model.lab.makemore.experiment import EXPERIMENT as MAKEMORE
from model.lab.saturation.experiment import EXPERIMENT as SATURATION
from tests.laboratory import report_of

SMALL = {
    "makemore": {"hidden": 4, "steps": 2, "depth": 2, "width": 4, "gains": [1.0], "deep_steps": 1},
    "saturation": {"units": 4, "steps": 2},
}


def written(folder: Path, blank: int) -> str:
    """60 rows of two classes and 40 features, the first of which are 0."""
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(60, 40)).astype(np.float32)
    inputs[:, :blank] = 0
    (folder / "edges").mkdir()
    save(describe(inputs, draw.integers(0, 2, 60), ("a", "b")), folder / "edges")
    return "edges"


@pytest.mark.parametrize("experiment", [MAKEMORE, SATURATION], ids=lambda one: one.kind)
@pytest.mark.parametrize(("blank", "is_told"), [(20, True), (10, False)])
def test_a_report_says_that_most_of_the_first_features_are_blank(
    tmp_path: Path, experiment: Experiment, blank: int, is_told: bool
) -> None:
    params = {**SMALL[experiment.kind], "dataset": written(tmp_path, blank)}
    report, _ = report_of(experiment, tmp_path, (0,), **params)
    told = [one for one in report.caveats if f"{blank} of the first 30 features" in one]
    assert len(told) == is_told
