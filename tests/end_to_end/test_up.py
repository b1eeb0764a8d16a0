import os
import signal
import socket
from typing import Any

import pytest

from evalmode.client import Client
from evalmode.lock import lock

SHORT = {"dataset": "digits", "network": {"kind": "mlp"}, "budget": {"steps": 50}}
LONG = {**SHORT, "budget": {"steps": 20_000_000}, "evaluate_every": {"steps": 20_000_000}}


def test_a_service_says_ready_refuses_a_second_and_ends_without_a_trace(start_up: Any) -> None:
    up = start_up()
    assert sorted(up.pids) == ["api", "redis", "worker"]
    assert len(up.living(set(up.pids.values()))) == 3

    second = start_up(ready=False)
    assert second.process.wait(20) == 3
    assert f"(process {up.process.pid}) already uses the data folder" in second.log.read_text()

    family = up.family()
    assert len(family) > 3
    assert up.end() == (0, "")
    assert not up.living(family)
    assert not (up.data / "processes.json").exists()


@pytest.mark.parametrize("role", ["redis", "worker", "api", "api-2"])
def test_a_child_that_is_killed_comes_back_and_runs_go_on(role: str, fleet: Any) -> None:
    before = fleet.pids
    os.kill(before[role], signal.SIGKILL)
    fleet.wait_until(lambda: fleet.pids.get(role, before[role]) != before[role])
    after = fleet.pids
    assert {name for name in after if after[name] != before.get(name)} == {role}
    with Client(fleet.url) as client:
        assert client.runs.create(SHORT).wait(timeout=60).state == "succeeded"


def test_a_killed_up_leaves_nobody_and_its_folder_free(start_up: Any) -> None:
    up = start_up()
    with Client(up.url) as client:
        run = client.runs.create(LONG)
        up.wait_until(lambda: run.refresh().progress.step > 0)
    family = up.family()
    up.process.kill()
    up.wait_until(lambda: not up.living(family), 5)
    os.close(lock(up.data))


def test_the_end_saves_a_run_and_the_next_start_goes_on_with_it(start_up: Any) -> None:
    up = start_up()
    with Client(up.url) as client:
        run = client.runs.create(LONG)
        up.wait_until(lambda: run.refresh().progress.step > 0)
    assert up.end(signal.SIGINT)[0] == 0
    again = start_up()
    with Client(again.url) as client:
        again.wait_until(lambda: client.runs.get(run.id).state == "running")
        kinds = [event.type for event in client.runs.events(run.id)]
        assert "resumed" in kinds
        client.runs.cancel(run.id)
        assert client.runs.wait(run.id, timeout=30).state == "cancelled"


def test_a_signal_during_the_start_ends_it_without_a_trace(start_up: Any) -> None:
    up = start_up(ready=False)
    up.wait_until(lambda: (up.data / "processes.json").exists() and "worker" in up.pids)
    family = up.family()
    assert up.end() == (0, "")
    assert not up.living(family)


def test_a_port_that_is_taken_is_told_before_anything_starts(start_up: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        up = start_up("--port", str(taken.getsockname()[1]), ready=False)
        assert up.process.wait(20) == 1
    assert "cannot listen on 127.0.0.1 port" in up.log.read_text()
