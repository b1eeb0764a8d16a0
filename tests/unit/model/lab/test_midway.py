"""One arm against the middle of two others."""

from typing import Any

import pytest

from model.lab.compare import Outcome
from model.lab.midway import above_midway
from model.lab.results import Results, RunResult
from model.lab.verdict import Declared
from model.spec import RunSpec

SPEC = RunSpec.model_validate({"dataset": "digits", "network": {"kind": "mlp"}})
DIFFERENCE = Declared("points", "points", "difference", "above", 0.0)
ARMS = ("ours", "below", "above")


def run(arm: str, seed: int) -> RunResult:
    told: dict[str, Any] = {"state": "succeeded", "outcome": "completed", "why": None, "step": 10}
    rest: dict[str, Any] = {"dataset": "", "series": {}, "measured": {}, "checkpoints": ()}
    return RunResult(arm=arm, seed=seed, spec=SPEC, **told, **rest)


RUNS = Results(tuple(run(arm, 0) for arm in ARMS))


def test_it_is_the_arm_less_the_mean_of_the_two() -> None:
    known = {"ours": Outcome(9.0), "below": Outcome(2.0), "above": Outcome(10.0)}
    (one,) = above_midway(RUNS, DIFFERENCE, *ARMS, lambda run: known[run.arm])
    assert one.value == 9.0 - 6.0


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("what", [Outcome(5.0, "early", "at least"), Outcome(None, "lost")])
def test_a_bound_says_no_more_than_what_is_not_there(arm: str, what: Outcome) -> None:
    known = dict.fromkeys(ARMS, Outcome(1.0)) | {arm: what}
    (one,) = above_midway(RUNS, DIFFERENCE, *ARMS, lambda run: known[run.arm])
    assert one.value is None
    assert what.note in one.note


def test_a_seed_that_one_of_them_lacks_is_left_out() -> None:
    some = Results((*RUNS.runs, run("ours", 1), run("below", 1)))
    found = above_midway(some, DIFFERENCE, *ARMS, lambda _: Outcome(1.0))
    assert [one.seed for one in found] == [0]
