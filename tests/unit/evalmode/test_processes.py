import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from evalmode import processes
from evalmode.processes import ChildFails, Command, Processes, delay_seconds, tethered

SLEEP = ("sleep", "60")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()",
)


def command(role: str, argv: tuple[str, ...], **fields: Any) -> Command:
    return Command(role, argv, {"PATH": os.defpath}, **fields)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(is_true: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


async def until(is_true: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, is_true)


def listed(listing: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads(listing.read_text())
    return found


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    return tmp_path / "processes.json"


def serve(listing: Path, work: Callable[[Processes], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        processes = Processes(listing)
        try:
            await work(processes)
        finally:
            await processes.stop(processes.roles)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 0.2), (2, 0.4), (3, 0.8), (5, 3.2), (6, 5.0), (60, 5.0)]
)
def test_the_delay_doubles_from_a_fifth_of_a_second_to_five(failures: int, seconds: float) -> None:
    assert delay_seconds(failures) == pytest.approx(seconds)


def test_a_child_that_dies_is_started_again_and_listed_under_its_new_id(listing: Path) -> None:
    async def work(processes: Processes) -> None:
        processes.keep(command("worker", SLEEP))
        await until(lambda: "worker" in processes.pids)
        first = processes.pids["worker"]
        assert listed(listing) == {"worker": first}
        os.kill(first, signal.SIGKILL)
        await until(lambda: processes.pids.get("worker", first) != first)
        assert listed(listing) == processes.pids

    serve(listing, work)
    assert listed(listing) == {}


def test_waiting_for_a_child_that_keeps_dying_is_given_up(
    listing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "FIRST_DELAY_SECONDS", 0.01)

    async def never() -> bool:
        return False

    async def work(processes: Processes) -> None:
        told: list[int] = []
        processes.keep(command("api", SLEEP))
        processes.keep(command("redis", ("false",), after_failure=told.append))
        with pytest.raises(ChildFails, match="redis ended 5 times in a row"):
            await processes.until(never)
        assert told == [1, 2, 3, 4, 5]

    serve(listing, work)


def test_a_stubborn_child_is_killed_after_its_grace(listing: Path) -> None:
    pids = []

    async def work(processes: Processes) -> None:
        processes.keep(command("worker", STUBBORN, grace_seconds=0.2))
        await until(lambda: "worker" in processes.pids)
        await asyncio.sleep(0.5)  # time to ignore the signal
        pids.append(processes.pids["worker"])

    serve(listing, work)
    assert not is_alive(pids[0])


def test_a_child_that_waits_for_its_next_start_does_not_hold_up_the_end(listing: Path) -> None:
    async def work(processes: Processes) -> None:
        failures: list[int] = []
        processes.keep(command("worker", ("false",), after_failure=failures.append))
        await until(lambda: len(failures) == 4)

    began = time.monotonic()
    serve(listing, work)
    assert time.monotonic() - began < 4


def test_what_is_given_on_standard_input_stands_in_no_argument(listing: Path) -> None:
    async def work(processes: Processes) -> None:
        processes.keep(command("redis", ("sh", "-c", "read word; exec sleep 60"), stdin=b"pw\n"))
        await until(lambda: "redis" in processes.pids)
        await until(lambda: b"sleep" in read_arguments(processes.pids["redis"]))
        assert b"pw" not in read_arguments(processes.pids["redis"])

    serve(listing, work)


def read_arguments(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_tethered_child_dies_with_a_killed_parent() -> None:
    code = (
        "import subprocess, sys, time\n"
        "from evalmode.processes import tethered\n"
        "child = subprocess.Popen(tethered(('sleep', '60')), start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    wait_until(lambda: b"tether" not in read_arguments(child))
    assert is_alive(child)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not is_alive(child))


def test_a_tethered_child_whose_parent_is_gone_does_not_start(tmp_path: Path) -> None:
    stranger = (*tethered(("touch", str(tmp_path / "started")))[:4], "1", "touch", "started")
    ended = subprocess.run(stranger, cwd=tmp_path)
    assert ended.returncode == 1
    assert list(tmp_path.iterdir()) == []
