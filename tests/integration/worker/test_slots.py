"""Hints beyond those that can be of use end at once, and no run is overlooked for it."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from core import datasets
from core.states import State
from tests.workers import until
from worker.devices import Cores
from worker.services import Services
from worker.slots import Slots
from worker.spare import Spare


@pytest.fixture
def opened(open_service: Any, shared_redis: Any) -> Iterator[Any]:
    service = open_service(shared_redis.url)
    datasets.ensure_builtin(service.database, service.files)
    yield service
    service.close()


def test_two_threads_wait_for_cores_and_the_others_end(opened: Any) -> None:
    services = Services(opened.settings, opened.database, opened.files, opened.hints)
    cores, spare = Cores(1), Spare(rehearsing=False)
    slots = Slots(services, cores, spare)
    share = cores.take(1, services.draining)
    assert share is not None
    submitted = [opened.submit(hint=False, budget={"steps": 5}) for _ in range(3)]
    threads = [threading.Thread(target=slots.work) for _ in range(10)]
    for thread in threads:
        thread.start()
    until(lambda: sum(thread.is_alive() for thread in threads) == 2)
    share.give_back()
    for thread in threads:
        thread.join(60)
    spare.close()
    assert [opened.run(run_id).state for run_id in submitted] == [State.SUCCEEDED] * 3
