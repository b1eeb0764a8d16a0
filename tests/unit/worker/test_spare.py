"""A trainer waits for the next run, and ends with its worker."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker import forkserver
from worker.spare import Spare


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    forkserver.warm()


@pytest.fixture
def spare() -> Iterator[Spare]:
    made = Spare(rehearsing=True)
    yield made
    made.close()


def children() -> set[int]:
    """Processes of the forkserver that have not ended."""
    pid = forkserver.pid()
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in found}


def until_children(expected: set[int]) -> None:
    deadline = time.monotonic() + 10
    while children() != expected:
        assert time.monotonic() < deadline, children()
        time.sleep(0.01)


def test_one_trainer_waits_however_often_it_is_prepared(spare: Spare) -> None:
    spare.prepare()
    spare.prepare()
    waiting = children()
    child = spare.take()
    assert waiting == {child.process.pid}
    child.close()


def test_whoever_finds_none_waiting_gets_a_new_one(spare: Spare) -> None:
    spare.prepare()
    first, second = spare.take(), spare.take()
    assert first.process.is_alive()
    assert second.process.is_alive()
    assert first.process.pid != second.process.pid
    first.close()
    second.close()


def test_a_trainer_that_died_while_it_waited_is_not_handed_out(spare: Spare) -> None:
    spare.prepare()
    [pid] = children()
    os.kill(pid, signal.SIGKILL)
    until_children(set())
    child = spare.take()
    assert child.process.pid != pid
    assert child.process.is_alive()
    child.close()


def test_a_trainer_that_died_while_it_waited_is_replaced(spare: Spare) -> None:
    spare.prepare()
    [pid] = children()
    os.kill(pid, signal.SIGKILL)
    until_children(set())
    spare.prepare()
    assert children() - {pid}


def test_closing_ends_the_waiting_trainer_and_prepares_no_other(spare: Spare) -> None:
    spare.prepare()
    assert children()
    spare.close()
    until_children(set())
    spare.prepare()
    assert children() == set()


def test_one_that_may_see_a_gpu_runs_nothing_while_it_waits() -> None:
    spare = Spare(rehearsing=False)
    spare.prepare()
    [pid] = children()
    time.sleep(0.5)
    assert len(os.listdir(f"/proc/{pid}/task")) == 1
    assert "libcuda.so" not in Path(f"/proc/{pid}/maps").read_text()
    spare.close()
