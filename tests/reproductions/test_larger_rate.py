"""Bjorck et al. 2018, figure 3, on 20 residual blocks and three seeds."""

from pathlib import Path
from statistics import median

import pytest

from model.lab.compare import compared
from model.lab.larger_rate.crossings import chosen, look, outcome
from model.lab.larger_rate.experiment import EXPERIMENT, LONGEST
from tests.laboratory import asked, report_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_batch_norm_makes_safe_steps_at_least_ten_times_as_long(tmp_path: Path) -> None:
    params = asked(EXPERIMENT)
    found, results = report_of(EXPERIMENT, tmp_path, processes=2)
    ratios = []
    for seed in (0, 1, 2):
        batch, none = (chosen(params, results, norm, seed) for norm in ("batch", "none"))  # type: ignore[arg-type]
        assert batch is not None
        assert none is not None
        for number in params.batches:
            pair = [outcome(look(run, number), run.arm) for run in (batch, none)]
            ratios.append(compared(LONGEST, seed, *pair).value)

    assert len(ratios) == 9
    assert None not in ratios
    assert median(value for value in ratios if value is not None) >= 10
    assert found.effect.verdict == "supports"
    # The deep network without norm does not survive a step of 1e-4: there is no ratio from it.
    assert all(run.has_diverged for run in results.of("deep, none, rate 0.0001"))
