"""One arm against a bound."""

from typing import Any

from model.lab.compare import Outcome
from model.lab.results import Results, RunResult
from model.lab.single import beyond
from model.spec import RunSpec

SPEC = RunSpec.model_validate({"dataset": "digits", "network": {"kind": "mlp"}})


def run(arm: str, seed: int, **fields: Any) -> RunResult:
    told = {"state": "succeeded", "outcome": "completed", "why": None, "step": 10, "spec": SPEC}
    rest = {"dataset": "", "series": {}, "measured": {}, "checkpoints": ()}
    return RunResult(arm=arm, seed=seed, **{**told, **rest, **fields})


def test_every_run_of_the_arm_is_held_against_the_bound() -> None:
    known = {0: Outcome(85.0), 1: Outcome(None, "nothing to see"), 2: Outcome(79.0)}
    runs = (run("a", 2), run("a", 0), run("a", 1), run("b", 0), run("a", 3, state="failed"))
    found = beyond(Results(runs), "a", lambda one: known[one.seed], 80.0)
    assert [(one.seed, one.value, one.note) for one in found] == [
        (0, 5.0, ""),
        (1, None, "nothing to see"),
        (2, -1.0, ""),
    ]


def test_a_bound_of_a_run_is_one_of_what_is_left_of_it() -> None:
    of = Outcome(5.0, "a diverged", "at least")
    (one,) = beyond(Results((run("a", 0),)), "a", lambda _: of, 2.0)
    assert (one.value, one.note, one.bound) == (3.0, "a diverged", "at least")
