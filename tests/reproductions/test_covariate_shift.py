"""Figure 3 of Santurkar et al. 2018: the deep linear network at its full size, with three seeds."""

from statistics import median
from typing import Any

import pytest

from model.lab.covariate_shift.experiment import EXPERIMENT
from model.lab.report import Report
from model.lab.results import Results, RunResult
from tests.laboratory import report_of

SEEDS = (0, 1, 2)
EARLY = (100, 4_000)  # steps in which batch norm's cosine is far from 1

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Results]:
    params: dict[str, Any] = {"network": "deep_linear", "scale": "paper"}
    return report_of(EXPERIMENT, tmp_path_factory.mktemp("linear"), SEEDS, 2, **params)


def runs(made: tuple[Report, Results], norm: str) -> tuple[RunResult, ...]:
    found = made[1].of(f"deep_linear, {norm}")
    assert len(found) == 3
    return found


def values(run: RunResult, name: str, first: int = 0, last: int = 10_000) -> list[float]:
    found = run.series[name]
    pairs = zip(found.steps, found.values, strict=True)
    return [value for step, value in pairs if first <= step <= last]


def test_batch_norm_ends_below_half_the_loss(made: tuple[Report, Results]) -> None:
    for none, batch in zip(runs(made, "none"), runs(made, "batch"), strict=True):
        losses = [one.last("train_loss") for one in (none, batch)]
        assert losses[0] is not None
        assert losses[1] is not None
        assert losses[1] < losses[0] / 2


def test_with_batch_norm_gradients_shift_more_than_ten_times_as_far(
    made: tuple[Report, Results],
) -> None:
    for none, batch in zip(runs(made, "none"), runs(made, "batch"), strict=True):
        apart = [median(values(one, "covariate_shift.l2.17")) for one in (none, batch)]
        assert apart[1] > 10 * apart[0]
    assert made[0].effect.verdict == "contradicts"


def test_without_norm_gradients_hardly_turn(made: tuple[Report, Results]) -> None:
    for run in runs(made, "none"):
        for layer in (9, 17):
            cosines = values(run, f"covariate_shift.cosine.{layer}")
            assert len(cosines) >= 200
            assert median(cosines) > 0.99
            assert sum(one > 0.99 for one in cosines) >= 0.7 * len(cosines)


def test_with_batch_norm_they_turn_far(made: tuple[Report, Results]) -> None:
    for run in runs(made, "batch"):
        assert median(values(run, "covariate_shift.cosine.17", *EARLY)) < 0.5
