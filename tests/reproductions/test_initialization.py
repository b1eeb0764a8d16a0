"""The three starts at their default scale, on three seeds."""

from pathlib import Path

import pytest

from model.lab.initialization.experiment import EXPERIMENT
from tests.laboratory import report_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_batch_norm_makes_safe_steps_alike_and_more_starts_survive(tmp_path: Path) -> None:
    found, _ = report_of(EXPERIMENT, tmp_path, processes=2)
    cells, good, usual, wild = found.others

    assert len(found.effect.seeds) == 3
    assert all(one.value is not None and one.value >= 20 for one in found.effect.seeds)
    assert all(one.value is not None and one.value >= 2 for one in cells.seeds)
    assert (found.effect.verdict, cells.verdict) == ("supports", "supports")
    # Larger safe steps with batch norm only from the start that is too large.
    assert [one.verdict for one in (good, usual, wild)] == [
        "contradicts",
        "contradicts",
        "supports",
    ]
