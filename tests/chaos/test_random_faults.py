"""A seeded mix of faults while runs train; judged from the records and files that are left.

Every accepted run ends once, with the bits of an undisturbed run, whatever was killed,
frozen or emptied meanwhile.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from core.states import State

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RUNS = 8
SECONDS = 40.0
SPEC = {
    "budget": {"steps": 6000},
    "evaluate_every": {"steps": 1500},
    "checkpoint_every": {"steps": 2500},
}


class Nemesis:
    """Injects faults and mends what only an operator's supervisor would mend."""

    def __init__(self, service: Any, server: Any, seed: int) -> None:
        self.service, self.server, self.random = service, server, random.Random(seed)
        self.ids: list[str] = []
        self.faults: list[Callable[[], None]] = [
            self.kill_trainer,
            self.kill_trainer,
            self.freeze_trainer,
            self.kill_worker,
            self.terminate_worker,
            self.kill_redis,
            self.flush,
            self.repeat_hints,
        ]

    def strike(self) -> None:
        self.random.choice(self.faults)()

    def trainers(self, ids: list[str]) -> list[int]:
        pids = (self.service.run(run_id).pid for run_id in ids)
        return [pid for pid in pids if pid is not None]

    def send(self, signum: int) -> None:
        pids = self.trainers(self.ids)
        if pids:
            try:
                os.kill(self.random.choice(pids), signum)
            except ProcessLookupError:
                return

    def kill_trainer(self) -> None:
        self.send(signal.SIGKILL)

    def freeze_trainer(self) -> None:
        self.send(signal.SIGSTOP)

    def kill_worker(self) -> None:
        self.replace_worker(signal.SIGKILL)

    def terminate_worker(self) -> None:
        self.replace_worker(signal.SIGTERM)

    def replace_worker(self, signum: int) -> None:
        worker = self.random.choice([w for w in self.service.workers if w.poll() is None])
        worker.send_signal(signum)
        worker.wait(60)
        self.service.start_worker()

    def kill_redis(self) -> None:
        self.server.kill()
        time.sleep(self.random.uniform(0.1, 2))
        self.server.start()

    def flush(self) -> None:
        with self.server.client() as client:
            client.flushall()

    def repeat_hints(self) -> None:
        for _ in range(100):
            self.service.hints.send("cpu")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_run_ends_once_with_the_bits_of_an_undisturbed_one(
    open_service: Any, own_redis: Any, seed: int
) -> None:
    service = open_service(own_redis.url, slots=1, max_crashes=1000)
    for _ in range(2):
        service.start_worker()
    quiet = service.submit(**SPEC)
    assert service.until_ended(quiet).state is State.SUCCEEDED
    nemesis = Nemesis(service, own_redis, seed)
    nemesis.ids = [service.submit(**SPEC) for _ in range(RUNS)]
    until = time.monotonic() + SECONDS
    while time.monotonic() < until and not all(service.run(i).ended for i in nemesis.ids):
        nemesis.strike()
        time.sleep(nemesis.random.uniform(0.2, 2))
    try:
        for run_id in nemesis.ids:
            check(service, run_id, quiet)
    finally:
        service.close()


def check(service: Any, run_id: str, quiet: str) -> None:
    run = service.until_ended(run_id, 240)
    assert (run.state, run.error, run.step) == (State.SUCCEEDED, None, run.steps)
    assert service.sha256(run_id) == service.sha256(quiet)
    events = service.events(run_id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events].count("succeeded") == 1
    assert events[-1].type == "succeeded"
    claims = [event.data["epoch"] for event in events if event.type in ("started", "resumed")]
    assert claims == sorted(set(claims))
    assert len(claims) == run.attempts
