"""Measures of runs that a real worker trains: the same whatever interrupts them."""

import os
import signal
from typing import Any

import pytest

from core import measurements, metrics, runs
from core.measurements import Measurements, Wanted
from core.states import Outcome, State
from model.measures.catalogue import CATALOGUE

KINDS = [*(kind for kind in CATALOGUE if kind != "relative_loss")]
MEASURED: dict[str, Any] = {
    "budget": {"steps": 1500},
    "evaluate_every": {"steps": 500},
    "norm": "noisy_batch",
    "measures": [{"kind": "relative_loss", "at": [1, 4]}, *({"kind": kind} for kind in KINDS)],
}


def found(service: Any, run_id: str) -> dict[str, Measurements]:
    wanted = Wanted(run_id, max_points=10_000)
    read: dict[str, Measurements] = service.database.read(lambda c: measurements.read(c, wanted))
    return read


def points(service: Any, run_id: str) -> dict[str, Any]:
    series = service.database.read(lambda c: metrics.series(c, run_id))
    return {name: one for name, one in series.items() if name != "steps_per_second"}


@pytest.fixture(scope="module")
def whole(steady: Any) -> tuple[dict[str, Measurements], dict[str, Any], str]:
    """What an undisturbed run finds, its points, and the hash of its weights."""
    run_id = steady.submit(**MEASURED)
    assert steady.until_ended(run_id).outcome is Outcome.COMPLETED
    return found(steady, run_id), points(steady, run_id), weights(steady, run_id)


def weights(service: Any, run_id: str) -> str:
    checkpoint: str = service.checkpoint(service.run(run_id).checkpoint_id).weights_hash
    return checkpoint


def test_every_measure_is_recorded_from_the_start_to_the_end(whole: Any) -> None:
    series, _, _ = whole
    assert series.keys() == CATALOGUE.keys()
    assert series["relative_loss"].steps == [0, 3]
    for kind in KINDS:
        last = 1500 - CATALOGUE[kind].compares
        assert (series[kind].steps[0], series[kind].steps[-1]) == (0, last)
        assert series[kind].of >= 20
    assert all("unreadable" not in value for one in series.values() for value in one.values)


def test_measures_leave_the_weights_as_they_would_be_without(steady: Any, whole: Any) -> None:
    run_id = steady.submit(**{**MEASURED, "measures": []})
    steady.until_ended(run_id)
    assert weights(steady, run_id) == whole[2]
    assert found(steady, run_id) == {}


def test_a_paused_run_finds_what_an_undisturbed_one_finds(steady: Any, whole: Any) -> None:
    run_id = steady.submit(**MEASURED)
    steady.until_step(run_id, 200)
    steady.database.write(lambda c: runs.pause(c, run_id))
    paused = steady.until_state(run_id, State.PAUSED)
    assert 0 < paused.step < 1500
    steady.database.write(lambda c: runs.resume(c, run_id))
    steady.hints.send("cpu")
    steady.until_ended(run_id)
    assert (found(steady, run_id), points(steady, run_id)) == whole[:2]


def test_a_run_whose_trainer_is_killed_finds_the_same_once_each(steady: Any, whole: Any) -> None:
    run_id = steady.submit(**MEASURED)
    steady.until_resumable(run_id)
    steady.until_step(run_id, 500)
    os.kill(steady.run(run_id).pid, signal.SIGKILL)
    run = steady.until_ended(run_id)
    assert run.attempts == 2
    assert (found(steady, run_id), points(steady, run_id)) == whole[:2]


def test_a_diverged_run_keeps_what_was_found_until_then(steady: Any) -> None:
    run_id = steady.submit(
        norm="none",
        loss={"kind": "squared_error"},
        optimizer={"kind": "sgd", "lr": 30.0},
        network={"kind": "mlp", "hidden": [16, 16], "activation": "relu"},
        measures=[{"kind": "gradients", "every": 1}, {"kind": "moments", "every": 1}],
    )
    run = steady.until_ended(run_id)
    assert run.outcome is Outcome.DIVERGED
    for one in found(steady, run_id).values():
        assert one.steps == list(range(run.step))
