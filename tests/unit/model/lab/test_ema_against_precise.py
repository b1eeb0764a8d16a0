"""Running averages against precise statistics: the plan, the phases and the report."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from model.errors import SpecRefused
from model.lab.ema_against_precise.experiment import EXPERIMENT
from model.lab.ema_against_precise.looks import Looks, over_phase, share_above
from model.lab.errors import held_out, in_eval, recomputed
from model.lab.results import Results, RunResult
from tests.laboratory import asked, report_of, results_of

SMALL = {
    "hidden": [20],
    "momenta": [0.5, 0.1],
    "batch_size": 256,
    "high_steps": 16,
    "low_steps": 8,
    "checkpoint_every": 4,
}


def run(arm: str, seed: int = 0, **fields: Any) -> RunResult:
    (planned, *_) = EXPERIMENT.plan(asked(EXPERIMENT, **SMALL), (seed,))
    told = {"state": "succeeded", "outcome": "completed", "why": None, "step": 24}
    rest = {"dataset": "", "series": {}, "measured": {}, "checkpoints": ()}
    return RunResult(arm=arm, seed=seed, spec=planned.spec, **{**told, **rest, **fields})


def test_the_plan_has_a_run_for_every_momentum_and_the_rate_falls_once() -> None:
    planned = EXPERIMENT.plan(asked(EXPERIMENT), (0, 1))
    assert [(one.arm, one.seed) for one in planned] == [
        ("momentum 0.1", 0),
        ("momentum 0.01", 0),
        ("momentum 0.1", 1),
        ("momentum 0.01", 1),
    ]
    first, second = (one.spec for one in planned[:2])
    assert first == second.model_copy(update={"norm": first.norm})
    assert first.schedule.model_dump(exclude={"warmup_steps"}) == {
        "kind": "step",
        "every_steps": 200,
        "gamma": 0.1,
    }
    assert (first.budget.steps, first.batch_size) == (300, 512)


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"high_steps": 50, "low_steps": 60}, "low_steps"),
        ({"checkpoint_every": 190}, "checkpoint_every"),
        ({"checkpoint_every": 1}, "checkpoint_every"),
    ],
)
def test_phases_and_checkpoints_that_cannot_work_are_refused(
    params: dict[str, int], path: str
) -> None:
    with pytest.raises(SpecRefused) as caught:
        EXPERIMENT.plan(asked(EXPERIMENT, **params), (0,))
    assert caught.value.path == path


def test_momenta_that_do_not_fall_are_refused() -> None:
    with pytest.raises(ValidationError, match="smaller than the one before"):
        asked(EXPERIMENT, momenta=[0.01, 0.1])


def test_checkpoints_count_once_the_first_values_are_forgotten() -> None:
    settled = asked(EXPERIMENT).settled
    assert 0.9**settled <= 0.01 < 0.9 ** (settled - 1)
    assert asked(EXPERIMENT, momenta=[0.001]).settled == 100  # half of the phase
    assert asked(EXPERIMENT, momenta=[1e-9]).settled == 100
    assert asked(EXPERIMENT, momenta=[1e-9], high_steps=10**9).settled == 5 * 10**8


def test_a_momentum_that_never_moves_a_running_value_is_refused() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to"):
        asked(EXPERIMENT, momenta=[1e-17])


def test_a_phase_is_the_checkpoints_between_its_steps() -> None:
    looks = {("a", 0): Looks((4, 8, 12, 16), (9.0, 5.0, 3.0, 1.0), (0.0, 2.0, 4.0, 1.0))}
    assert over_phase(looks, 8, 12)(run("a")).value == pytest.approx(1.0)  # (3 - 1) / 2
    assert over_phase(looks, 8, 16, share_above)(run("a")).value == pytest.approx(100 / 3)
    assert over_phase(looks, 20, 24)(run("a")).value is None
    assert over_phase(looks, 8, 12)(run("a", seed=1)).value is None
    diverged = run("a", outcome="diverged", step=10)
    assert over_phase(looks, 4, 8)(diverged).value == pytest.approx(6.0)
    assert over_phase(looks, 8, 12)(diverged).note == "a diverged at step 10"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    planned = EXPERIMENT.plan(asked(EXPERIMENT, **SMALL), (0, 1))
    return results_of(planned, tmp_path_factory.mktemp("ema"))


def test_runs_of_one_seed_have_the_same_weights_and_other_statistics(results: Results) -> None:
    first, second = (results.of(arm)[0] for arm in ("momentum 0.5", "momentum 0.1"))
    assert [one.step for one in first.checkpoints] == [4, 8, 12, 16, 20, 24]
    one, two = (results.trained(run_, 16) for run_ in (first, second))
    assert one is not None
    assert two is not None
    tensors = two.network.state_dict()
    moved = {n for n, t in one.network.state_dict().items() if not torch.equal(t, tensors[n])}
    assert moved == {"1.running_mean", "1.running_var"}


def test_a_run_that_diverged_is_said_to_be_in_no_number(results: Results) -> None:
    runs = tuple(replace(run_, outcome="diverged", step=3) for run_ in results.runs)
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results(runs[:1]))
    assert (report.effect.n, report.others[0].n) == (0, 0)
    told = "Diverged, and in no number of that phase or a later one: momentum 0.5, seed 0."
    assert told in report.caveats


def test_the_report_is_about_the_checkpoints_of_each_run(results: Results) -> None:
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), results)
    by_hand, shares = [], []
    for run_ in results.of("momentum 0.5"):
        start, gaps = results.start(run_), []
        for step in (8, 12, 16):  # settled is 7
            loaded = results.trained(run_, step)
            assert loaded is not None
            part = held_out(start)
            exact = in_eval(recomputed(loaded, start), part, 1_000)
            gaps.append(in_eval(loaded.network, part, 1_000) - exact)
        by_hand.append(sum(gaps) / 3)
        shares.append(100 * sum(gap > 0 for gap in gaps) / 3 - 80)
    assert [one.value for one in report.effect.seeds] == pytest.approx(shares)
    assert [one.value for one in report.others[0].seeds] == pytest.approx(by_hand)
    assert [len(table.rows) for table in report.tables] == [2, 2, 2]
    (figure,) = report.figures
    assert len(figure.panels) == 2
    assert [proof["differ_in"] for proof in report.factors] == [["norm.momentum"]] * 2
    assert {proof["same_start"] and proof["same_order"] for proof in report.factors} == {True}
    assert len(report.others) == 4


def test_the_same_runs_give_the_same_report(results: Results) -> None:
    params = asked(EXPERIMENT, **SMALL)
    assert EXPERIMENT.report(params, results) == EXPERIMENT.report(params, results)


def test_a_failed_run_is_left_out(results: Results) -> None:
    first, *rest = results.runs
    failed = replace(first, state="failed", outcome=None, why="no memory", checkpoints=())
    report = EXPERIMENT.report(asked(EXPERIMENT, **SMALL), Results((failed, *rest)))
    assert (report.effect.n, report.effect.verdict) == (1, "inconclusive")


def test_a_network_that_diverged_says_nothing_and_is_named(tmp_path: Path) -> None:
    params = SMALL | {"lr": 1e3, "weight_decay": 1.0, "momenta": [0.5]}
    report, results = report_of(EXPERIMENT, tmp_path, (0, 1), **params)
    assert all(one.has_diverged for one in results.runs)
    assert (report.effect.n, report.effect.verdict) == (0, "inconclusive")
    assert any("Diverged" in caveat for caveat in report.caveats)


def test_no_run_at_all_is_a_report_without_figures() -> None:
    report = EXPERIMENT.report(asked(EXPERIMENT), Results(()))
    assert (report.effect.verdict, report.figures) == ("inconclusive", ())
