"""The lifeline over a real pipe: signs of life, renewals, wishes, and the fence."""

import threading
import time
from contextlib import suppress
from multiprocessing import Pipe
from typing import NoReturn

import pytest

from worker.assignment import Timing
from worker.channel import Channel
from worker.lease import FENCED, Lifeline


class Ended(Exception):
    """Stands for the end of the process."""


class Trainer:
    """A lifeline whose end is written down instead of ending the test."""

    def __init__(self, **changed: float) -> None:
        here, there = Pipe()
        self.supervisor = Channel(here)
        self.ended = threading.Event()
        self.status: int | None = None
        times = {"heartbeat": 0.05, "self_fence": 0.5, "resume": 9, "metrics": 9, "stall": 60}
        self.lifeline = Lifeline(Channel(there), Timing(**{**times, **changed}), self.end)
        threading.Thread(target=self.live, daemon=True).start()

    def live(self) -> None:
        with suppress(Ended):
            self.lifeline.run()

    def end(self, status: int) -> NoReturn:
        self.status = status
        self.ended.set()
        raise Ended


def test_it_gives_signs_of_life() -> None:
    trainer = Trainer()
    first, second = trainer.supervisor.receive(), trainer.supervisor.receive()
    assert first["kind"] == second["kind"] == "alive"
    assert 0 < second["at"] - first["at"] < 0.5


def test_without_a_renewal_it_ends_itself() -> None:
    trainer = Trainer()
    assert trainer.ended.wait(5)
    assert trainer.status == FENCED


def test_renewals_keep_it_alive() -> None:
    trainer = Trainer()
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        trainer.supervisor.send("renewed", at=trainer.supervisor.receive()["at"])
    assert not trainer.ended.is_set()


def test_a_renewal_counts_from_when_it_was_asked_for() -> None:
    trainer = Trainer(heartbeat=10)
    asked = trainer.supervisor.receive()["at"]
    time.sleep(0.4)
    trainer.supervisor.send("renewed", at=asked)
    assert trainer.ended.wait(0.4)


def test_a_loop_that_stands_still_gives_no_sign() -> None:
    trainer = Trainer(stall=0.2, self_fence=60)
    time.sleep(0.5)
    signs = 0
    while trainer.supervisor.connection.poll(0.2):
        trainer.supervisor.receive()
        signs += 1
    assert 1 <= signs <= 5


@pytest.mark.parametrize("wish", ["pause", "stop", "shutdown"])
def test_a_wish_is_heard(wish: str) -> None:
    trainer = Trainer()
    trainer.supervisor.send(wish)
    until = time.monotonic() + 5
    while trainer.lifeline.wish is None and time.monotonic() < until:
        time.sleep(0.01)
    assert trainer.lifeline.wish == wish


def test_a_supervisor_that_is_gone_ends_it() -> None:
    trainer = Trainer(self_fence=60)
    trainer.supervisor.close()
    assert trainer.ended.wait(5)
    assert trainer.status == FENCED
