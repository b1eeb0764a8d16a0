"""Pause, resume and cancel of runs that a real worker trains."""

from typing import Any

import pytest
import torch

from core import runs
from core.errors import MoveForbidden
from core.states import Outcome, State

LONG = {"budget": {"steps": 3000}, "evaluate_every": {"steps": 500}}


def ask(service: Any, move: Any, run_id: str) -> Any:
    return service.database.write(lambda c: move(c, run_id))


def test_a_paused_run_resumes_with_the_bits_of_an_undisturbed_one(steady: Any) -> None:
    whole = steady.submit(**LONG)
    steady.until_ended(whole)
    run_id = steady.submit(**LONG)
    steady.until_step(run_id, 200)
    ask(steady, runs.pause, run_id)
    paused = steady.until_state(run_id, State.PAUSED)
    assert paused.resume.step == paused.step < 3000
    ask(steady, runs.resume, run_id)
    steady.hints.send("cpu")
    assert steady.until_ended(run_id).outcome is Outcome.COMPLETED
    expected = steady.tensors(whole)
    for name, tensor in steady.tensors(run_id).items():
        assert torch.equal(tensor, expected[name]), name


def test_a_running_run_is_cancelled_and_keeps_no_file(steady: Any) -> None:
    run_id = steady.submit(**LONG)
    steady.until_step(run_id, 100)
    ask(steady, runs.cancel, run_id)
    run = steady.until_state(run_id, State.CANCELLED)
    assert run.checkpoint_id is None
    assert [e.type for e in steady.events(run_id)][-1] == "cancelled"


def test_a_queued_run_is_paused_and_cancelled_without_a_worker(steady: Any) -> None:
    run_id = steady.submit(hint=False, threads=1, device="cuda")
    assert ask(steady, runs.pause, run_id).state is State.PAUSED
    assert ask(steady, runs.cancel, run_id).state is State.CANCELLED


@pytest.mark.parametrize("move", [runs.pause, runs.resume, runs.cancel])
def test_an_ended_run_forbids_every_move(steady: Any, move: Any) -> None:
    run_id = steady.submit(budget={"steps": 5})
    steady.until_ended(run_id)
    with pytest.raises(MoveForbidden):
        ask(steady, move, run_id)


def test_a_run_that_diverges_succeeds_with_that_outcome_and_a_finite_checkpoint(
    steady: Any,
) -> None:
    run_id = steady.submit(
        norm="none", loss={"kind": "squared_error"}, optimizer={"kind": "sgd", "lr": 1e10}
    )
    run = steady.until_ended(run_id)
    assert (run.state, run.outcome) == (State.SUCCEEDED, Outcome.DIVERGED)
    assert run.error is None
    assert all(torch.isfinite(tensor).all() for tensor in steady.tensors(run_id).values())


def test_two_runs_of_one_spec_give_the_same_file(steady: Any) -> None:
    one, other = steady.submit(budget={"steps": 50}), steady.submit(budget={"steps": 50})
    steady.until_ended(one)
    steady.until_ended(other)
    assert steady.sha256(one) == steady.sha256(other)


def test_a_channel_that_is_constant_with_eps_0_fails_the_run_by_name(steady: Any) -> None:
    run_id = steady.submit(
        network={"kind": "layers", "layers": [{"kind": "norm"}, {"kind": "linear"}]},
        norm={"kind": "batch", "eps": 0},
        scaling="none",
    )
    run = steady.until_ended(run_id)
    assert run.state is State.FAILED
    assert (run.error["cause"], run.error["reason"]) == ("user", "BN_ZERO_DEVIATION")


def test_every_run_ends_with_its_metrics_and_a_scored_checkpoint(steady: Any) -> None:
    run_id = steady.submit(budget={"epochs": 3})
    run = steady.until_ended(run_id)
    assert run.step == run.steps == 135
    wanted = {"train_loss", "train_accuracy", "test_loss", "test_accuracy", "learning_rate"}
    assert wanted <= run.metrics.keys()
    assert run.metrics["test_accuracy"]["step"] == 135
    events = steady.events(run_id)
    checkpoint = next(e for e in events if e.type == "checkpoint")
    last = run.metrics["test_accuracy"]["last"]
    assert checkpoint.data["metrics"]["test_accuracy"] == pytest.approx(last)
    assert [e.type for e in events if e.type != "metrics"] == [
        "queued",
        "started",
        "training",
        "checkpoint",
        "succeeded",
    ]


def test_runs_that_save_at_the_same_steps_do_not_meet(steady: Any) -> None:
    every = {"budget": {"steps": 60}, "checkpoint_every": {"steps": 5}}
    ids = [steady.submit(seed=seed, **every) for seed in range(6)]
    ended = [steady.until_ended(run_id) for run_id in ids]
    assert [run.state for run in ended] == [State.SUCCEEDED] * 6
    assert [run.attempts for run in ended] == [1] * 6
    assert len({steady.sha256(run_id) for run_id in ids}) == 6
