import time

from core import workers
from core.database import Database
from core.workers import Worker

CPU = Worker("w-cpu", "host", 10, "cpu", 4)
GPU = Worker("w-gpu", "host", 11, "gpu", 2, ("NVIDIA H200", "NVIDIA H200"))


def beat(database: Database, worker: Worker) -> None:
    database.write(lambda c: workers.beat(c, worker), durable=False)


def test_a_worker_is_alive_while_it_says_so(database: Database) -> None:
    beat(database, CPU)
    assert database.read(lambda c: workers.alive(c, 30)) == [CPU]
    assert not database.read(lambda c: workers.gpu_alive(c, 30))
    beat(database, GPU)
    assert database.read(lambda c: workers.alive(c, 30)) == [CPU, GPU]
    assert database.read(lambda c: workers.gpu_alive(c, 30))


def test_a_silent_worker_is_not_alive_and_comes_back(database: Database) -> None:
    beat(database, GPU)
    time.sleep(0.05)
    assert database.read(lambda c: workers.alive(c, 0.04)) == []
    assert not database.read(lambda c: workers.gpu_alive(c, 0.04))
    beat(database, GPU)
    assert database.read(lambda c: workers.gpu_alive(c, 0.04 * 100))


def test_a_worker_may_change_what_it_offers(database: Database) -> None:
    beat(database, CPU)
    more = Worker("w-cpu", "host", 10, "cpu", 8)
    beat(database, more)
    assert database.read(lambda c: workers.alive(c, 30)) == [more]


def test_a_worker_that_ended_is_forgotten(database: Database) -> None:
    beat(database, CPU)
    beat(database, GPU)
    database.write(lambda c: workers.remove(c, CPU.id))
    database.write(lambda c: workers.remove(c, "nobody"))
    assert database.read(lambda c: workers.alive(c, 30)) == [GPU]


def test_the_long_silent_are_purged(database: Database) -> None:
    beat(database, CPU)
    assert database.write(lambda c: workers.purge(c, 60)) == 0
    time.sleep(0.02)
    assert database.write(lambda c: workers.purge(c, 0.01)) == 1
    assert database.read(lambda c: workers.alive(c, 30)) == []
