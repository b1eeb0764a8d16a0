"""Cores and GPUs are given out whole and come back."""

import threading
from pathlib import Path

import pytest

from worker.devices import Cores, Gpus, find_gpus

NEVER = threading.Event()


def given_up() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_a_run_holds_as_many_cores_as_it_has_threads() -> None:
    cores = Cores(3)
    share = cores.take(2, NEVER)
    assert share is not None
    assert (share.device, share.visible) == ("cpu", None)
    assert cores.take(2, given_up()) is None
    assert cores.take(1, given_up()) is not None
    share.give_back()
    assert cores.take(2, given_up()) is not None


def test_a_run_of_more_threads_than_cores_takes_them_all() -> None:
    cores = Cores(2)
    share = cores.take(64, NEVER)
    assert share is not None
    assert cores.take(1, given_up()) is None


def test_a_waiting_run_starts_when_cores_come_back() -> None:
    cores = Cores(1)
    held = cores.take(1, NEVER)
    assert held is not None
    got: list[object] = []
    waiter = threading.Thread(target=lambda: got.append(cores.take(1, NEVER)))
    waiter.start()
    held.give_back()
    waiter.join(5)
    assert got != [None]
    assert len(got) == 1


def test_each_gpu_is_held_by_one_run() -> None:
    gpus = Gpus(["0", "GPU-abc"])
    one, other = gpus.take(1, NEVER), gpus.take(8, NEVER)
    assert one is not None
    assert other is not None
    assert [one.visible, other.visible] == ["0", "GPU-abc"]
    assert one.device == "cuda:0"
    assert gpus.take(1, given_up()) is None
    other.give_back()
    again = gpus.take(1, given_up())
    assert again is not None
    assert again.visible == "GPU-abc"


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("0,1", ["0", "1"]),
        ("", []),
        (" GPU-abc , ", ["GPU-abc"]),
        ("-1", []),
        ("1,-1,0", ["1"]),
        (None, ["0", "2", "10"]),
    ],
)
def test_gpus_are_found_without_touching_cuda(
    tmp_path: Path, visible: str | None, expected: list[str]
) -> None:
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert find_gpus(visible, tmp_path) == expected
