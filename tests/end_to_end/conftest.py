"""`evalmode up` as a user starts it: a process with a data folder, a port and children."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from evalmode.client import Client

ROOT = Path(__file__).parents[2]
SECONDS = 60.0


def wait_until(is_true: Callable[[], bool], seconds: float = SECONDS) -> None:
    give_up_at = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < give_up_at, f"not within {seconds} s"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie, which pid 1 may be slow to collect, does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def descendants(pid: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.update(below)
        waiting.extend(below)
    return found


@dataclass
class Up:
    """One `evalmode up`."""

    process: subprocess.Popen[str]
    data: Path
    log: Path
    url: str = ""

    def read_ready(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready http://127.0.0.1:"), line + self.log.read_text()[-3000:]
        self.url = line.removeprefix("ready ").rstrip("\n")

    @property
    def pids(self) -> dict[str, int]:
        found: dict[str, int] = json.loads((self.data / "processes.json").read_text())
        return found

    def family(self) -> set[int]:
        """Every process that it has started, directly or not."""
        return descendants(self.process.pid)

    def living(self, pids: set[int]) -> list[int]:
        return [pid for pid in pids if is_alive(pid)]

    def wait_until(self, is_true: Callable[[], bool], seconds: float = SECONDS) -> None:
        wait_until(is_true, seconds)

    def end(self, signal_number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and return the exit code and what was still said on standard output."""
        self.process.send_signal(signal_number)
        rest, _ = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, rest


Start = Callable[..., Up]


def launch(data: Path, *options: str, **settings: str) -> Up:
    log = data.with_suffix(".log")
    argv = [sys.executable, "-m", "evalmode", "up", "--data", str(data), "--port", "0"]
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [*argv, *options],
            cwd=ROOT,
            env={**os.environ, "EVALMODE_TICK_SECONDS": "1", **settings},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    return Up(process, data, log)


@pytest.fixture
def start_up(tmp_path: Path) -> Iterator[Start]:
    """Starts `evalmode up` on a data folder of the test; whatever is left is killed at its end."""
    started: list[Up] = []

    def start(*options: str, data: str = "data", ready: bool = True, **settings: str) -> Up:
        up = launch(tmp_path / data, *options, **settings)
        started.append(up)
        if ready:
            up.read_ready()
        return up

    yield start
    for up in started:
        left = up.family()
        if up.process.poll() is None:
            up.process.kill()
        up.process.communicate()
        for pid in left:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def serving(*options: str) -> Iterator[Up]:
    with tempfile.TemporaryDirectory(prefix="ev-", ignore_cleanup_errors=True) as folder:
        up = launch(Path(folder) / "data", "--slots", "2", *options)
        try:
            up.read_ready()
            yield up
        finally:
            up.end()


@pytest.fixture(scope="session")
def service() -> Iterator[Up]:
    """One service for every test that only talks to it."""
    with serving() as up:
        yield up


@pytest.fixture(scope="module")
def fleet() -> Iterator[Up]:
    """A service with two API processes, whose children may be killed."""
    with serving("--api-processes", "2") as up:
        yield up


@pytest.fixture
def client(service: Up) -> Iterator[Client]:
    with Client(service.url) as client:
        yield client
