"""Whatever dies while a run trains: it ends with the bits of an undisturbed run."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from core import runs
from core.states import State

LONG = {
    "network": {"kind": "mlp", "hidden": [100, 50]},
    "optimizer": {"kind": "sgd", "momentum": 0.9},
    "budget": {"steps": 5000},
    "evaluate_every": {"steps": 700},
    "checkpoint_every": {"steps": 2000},
}


@pytest.fixture(scope="module")
def undisturbed(steady: Any) -> dict[str, torch.Tensor]:
    run_id = steady.submit(**LONG)
    assert steady.until_ended(run_id).state is State.SUCCEEDED
    return dict(steady.tensors(run_id))


def assert_as_undisturbed(service: Any, run_id: str, expected: dict[str, torch.Tensor]) -> None:
    run = service.until_ended(run_id)
    assert (run.state, run.error) == (State.SUCCEEDED, None)
    tensors = service.tensors(run_id)
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, expected[name]), name
    assert [e.type for e in service.events(run_id)].count("succeeded") == 1


def trainers_parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def until(is_true: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_killed_trainer_is_replaced(service: Any, undisturbed: Any) -> None:
    run_id = service.submit(**LONG)
    service.until_resumable(run_id)
    os.kill(service.until_step(run_id, 1000).pid, signal.SIGKILL)
    assert_as_undisturbed(service, run_id, undisturbed)
    assert service.run(run_id).attempts == 2


def test_a_killed_worker_takes_its_trainer_along_and_the_next_one_goes_on(
    service: Any, undisturbed: Any
) -> None:
    run_id = service.submit(**LONG)
    service.until_resumable(run_id)
    pid = service.until_step(run_id, 1000).pid
    service.workers[0].kill()
    service.workers[0].wait()
    until(lambda: is_gone(pid), 1.0)
    service.start_worker()
    assert_as_undisturbed(service, run_id, undisturbed)


def test_a_killed_forkserver_takes_its_trainers_along_and_is_started_again(
    service: Any, undisturbed: Any
) -> None:
    run_id = service.submit(**LONG)
    service.until_resumable(run_id)
    pid = service.until_step(run_id, 1000).pid
    os.kill(trainers_parent(pid), signal.SIGKILL)
    until(lambda: is_gone(pid), 1.0)
    assert_as_undisturbed(service, run_id, undisturbed)


def test_a_killed_redis_disturbs_nothing_and_hints_flow_again(
    service: Any, own_redis: Any, undisturbed: Any
) -> None:
    run_id = service.submit(**LONG)
    service.until_step(run_id, 500)
    own_redis.kill()
    waiting = service.submit(budget={"steps": 20})
    time.sleep(0.5)
    own_redis.start()
    assert_as_undisturbed(service, run_id, undisturbed)
    assert service.until_ended(waiting, 90).state is State.SUCCEEDED


def test_runs_whose_hints_were_flushed_all_finish(service: Any, own_redis: Any) -> None:
    busy = [service.submit(**LONG), service.submit(**LONG)]
    queued = [service.submit(budget={"steps": 10}, seed=i) for i in range(20)]
    with own_redis.client() as client:
        client.flushall()
    for run_id in busy + queued:
        assert service.until_ended(run_id).state is State.SUCCEEDED


@pytest.mark.parametrize(
    "signals",
    [
        [signal.SIGTERM, signal.SIGTERM],
        [signal.SIGQUIT],
        pytest.param([signal.SIGTERM], marks=pytest.mark.slow),
        pytest.param([signal.SIGINT], marks=pytest.mark.slow),
        pytest.param([signal.SIGHUP], marks=pytest.mark.slow),
    ],
    ids=lambda signals: "+".join(signum.name for signum in signals),
)
def test_a_worker_that_is_asked_to_end_saves_and_the_next_one_goes_on(
    service: Any, undisturbed: Any, signals: list[signal.Signals]
) -> None:
    run_id = service.submit(**LONG)
    service.until_step(run_id, 500)
    asked_at = time.monotonic()
    for signum in signals:
        service.workers[0].send_signal(signum)
        time.sleep(0.1)
    service.workers[0].wait(20)
    assert time.monotonic() - asked_at < 10
    run = service.run(run_id)
    assert run.state is State.QUEUED
    assert run.crashes == 0
    assert run.resume.step == run.step > 0
    service.start_worker()
    assert_as_undisturbed(service, run_id, undisturbed)


def test_a_frozen_trainer_loses_its_run_and_is_killed_first(service: Any, undisturbed: Any) -> None:
    run_id = service.submit(**LONG)
    service.until_resumable(run_id)
    pid = service.until_step(run_id, 500).pid
    os.kill(pid, signal.SIGSTOP)
    service.until_state(run_id, State.QUEUED, State.RUNNING)
    until(lambda: service.run(run_id).epoch == 2)
    assert is_gone(pid)
    assert_as_undisturbed(service, run_id, undisturbed)


def test_a_frozen_worker_is_fenced_when_it_wakes(service: Any, undisturbed: Any) -> None:
    run_id = service.submit(**LONG)
    service.until_resumable(run_id)
    pid = service.until_step(run_id, 500).pid
    service.workers[0].send_signal(signal.SIGSTOP)
    until(lambda: is_gone(pid))  # two thirds of the lease without a renewal: it ends itself
    service.start_worker()
    until(lambda: service.run(run_id).epoch == 2)
    service.workers[0].send_signal(signal.SIGCONT)
    assert_as_undisturbed(service, run_id, undisturbed)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [flip, Path.unlink, lambda path: path.write_bytes(b"")],
    ids=["flipped", "missing", "empty"],
)
def test_a_damaged_resume_point_is_noticed_and_training_begins_again(
    service: Any, undisturbed: Any, damage: Any
) -> None:
    run_id = service.submit(**LONG)
    service.until_resumable(run_id)
    service.database.write(lambda c: runs.pause(c, run_id))
    point = service.until_state(run_id, State.PAUSED).resume
    damage(service.files.local(point.resume_key))
    service.database.write(lambda c: runs.resume(c, run_id))
    service.hints.send("cpu")
    assert_as_undisturbed(service, run_id, undisturbed)
    assert "warning" in [e.level for e in service.events(run_id)]


def test_a_run_that_kills_every_trainer_fails_as_poison(service: Any) -> None:
    run_id = service.submit(budget={"steps": 2_000_000}, evaluate_every={"steps": 2_000_000})
    killed: set[int] = set()

    def kill_each_new_trainer() -> None:
        while not service.run(run_id).ended:
            pid = service.run(run_id).pid
            if pid is not None and pid not in killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)

    killer = threading.Thread(target=kill_each_new_trainer)
    killer.start()
    run = service.until_ended(run_id)
    killer.join()
    assert run.state is State.FAILED
    assert run.error["reason"] == "POISON_RUN"
    assert run.error["cause"] == "infra"
    assert len(killed) == service.settings.max_crashes + 1


def test_nothing_is_left_of_an_ended_run_but_its_checkpoints(service: Any) -> None:
    run_id = service.submit(**LONG)
    service.until_resumable(run_id)
    os.kill(service.until_step(run_id, 1000).pid, signal.SIGKILL)
    service.until_ended(run_id)
    folder = service.settings.data / "files"
    until(lambda: len(list((folder / "runs").rglob("*.safetensors"))) == 3)
    assert not list((folder / ".scratch").iterdir())
    found = subprocess.run(["pgrep", "-f", run_id], capture_output=True, check=False)
    assert found.stdout == b""


def test_a_forkserver_that_died_while_idle_is_started_again(service: Any) -> None:
    first = service.submit(budget={"steps": 2000})
    forkserver = trainers_parent(service.until_step(first, 1).pid)
    service.until_ended(first)
    os.kill(forkserver, signal.SIGKILL)
    second = service.submit(budget={"steps": 20})
    assert service.until_ended(second).state is State.SUCCEEDED


def test_a_run_whose_dataset_has_lost_its_files_fails_by_name(service: Any) -> None:
    service.files.delete("datasets/ds_wine/inputs.npy")
    run = service.until_ended(service.submit(dataset="wine", budget={"steps": 20}))
    assert run.state is State.FAILED
    assert (run.error["cause"], run.error["reason"]) == ("infra", "FILE_MISSING")
