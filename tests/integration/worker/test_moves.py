"""Pause, resume and cancel of runs that a real worker trains."""

import time
from typing import Any

import pytest
import torch

from core import checkpoints, metrics, runs
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
    until_empty(steady, run_id)


def test_a_cancelled_run_keeps_its_checkpoints_and_nothing_else(steady: Any) -> None:
    run_id = steady.submit(
        **{**LONG, "budget": {"steps": 100_000}}, checkpoint_every={"steps": 200}
    )
    steady.until_step(run_id, 900)
    ask(steady, runs.cancel, run_id)
    steady.until_state(run_id, State.CANCELLED)
    listed = [e.data["step"] for e in steady.events(run_id) if e.type == "checkpoint"]
    assert len(listed) >= 4
    wanted = {f"step-{step}.safetensors" for step in listed}
    until_files(steady, run_id, wanted)


def test_the_best_is_the_runs_checkpoint_although_a_later_one_is_listed(steady: Any) -> None:
    run_id = steady.submit(
        select="best",
        split={"validation": 0.2},
        optimizer={"kind": "sgd", "lr": 3.0},
        budget={"steps": 60},
        evaluate_every={"steps": 10},
        checkpoint_every={"steps": 20},
    )
    steady.until_ended(run_id)
    points = steady.database.read(lambda c: metrics.series(c, run_id))
    ranked = sorted(
        (-accuracy, loss, step)
        for accuracy, loss, step in zip(
            points["validation_accuracy"].values,
            points["validation_loss"].values,
            points["validation_loss"].steps,
            strict=True,
        )
    )
    listed = steady.database.read(lambda c: checkpoints.page(c, run_id)).data
    steps = {one.id: one.step for one in listed}
    assert {20, 40, 60} <= set(steps.values())
    assert steps[steady.run(run_id).checkpoint_id] == ranked[0][2]


def test_without_held_out_rows_the_checkpoint_is_scored_on_the_training_rows(steady: Any) -> None:
    run_id = steady.submit(dataset="gaussian_linear", norm="none", budget={"epochs": 2})
    steady.until_ended(run_id)
    (one,) = steady.database.read(lambda c: checkpoints.page(c, run_id)).data
    assert one.metrics.keys() == {"train_in_eval_mode_loss", "train_eval_gap_loss"}
    assert "metrics" in [e.type for e in steady.events(run_id)]


def until_files(service: Any, run_id: str, wanted: set[str]) -> None:
    deadline = time.monotonic() + 10
    while (found := files_of(service, run_id)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def until_empty(service: Any, run_id: str) -> None:
    until_files(service, run_id, set())


def files_of(service: Any, run_id: str) -> set[str]:
    return {file.key.rpartition("/")[2] for file in service.files.list(f"runs/{run_id}")}


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


def test_every_checkpoint_tells_what_eval_mode_costs(steady: Any) -> None:
    lagging = {"kind": "batch", "momentum": 0.001}
    run_id = steady.submit(
        norm=lagging, scaling="none", budget={"steps": 90}, checkpoint_every={"steps": 30}
    )
    run = steady.until_ended(run_id)
    checkpoints = [e for e in steady.events(run_id) if e.type == "checkpoint"]
    assert [e.data["step"] for e in checkpoints] == [30, 60, 90]
    gap = checkpoints[-1].data["metrics"]["train_eval_gap"]
    assert gap > 5  # points: the 0 and 1 that training began with are still most of it
    assert run.metrics["train_eval_gap"]["last"] == gap
    assert {"train_eval_gap_batch", "train_eval_gap_loss"} <= run.metrics.keys()


def test_a_network_without_batch_statistics_has_no_gap(steady: Any) -> None:
    run = steady.until_ended(steady.submit(norm="layer", budget={"steps": 20}))
    assert run.metrics["train_eval_gap"]["last"] == 0
    assert run.metrics["train_eval_gap_loss"]["last"] == 0
