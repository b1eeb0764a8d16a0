"""What a slot gets: cores of this machine, or one CUDA device.

It counts GPUs without touching CUDA: a process that has initialized it must not fork.
"""

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Share:
    """A part of this machine that one run holds until `give_back` is called."""

    device: str  # cpu, or cuda:<id>
    visible: str | None  # what CUDA_VISIBLE_DEVICES must say; None without a GPU
    give_back: Callable[[], None]


class Devices(Protocol):
    """What runs share."""

    def take(self, threads: int, given_up: threading.Event) -> Share | None:
        """Wait for a share of so many threads; None if `given_up` is set meanwhile."""


class Cores:
    """The cores that CPU runs share; a run takes as many as its threads.

    Args:
        total: cores to give out. A run of more threads than that takes them all: its threads
            are part of its numbers and are not cut.
    """

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = threading.Condition()

    def take(self, threads: int, given_up: threading.Event) -> Share | None:
        """See `Devices`."""
        wanted = min(threads, self._total)
        with self._changed:
            while self._free < wanted:
                if given_up.is_set():
                    return None
                self._changed.wait(0.2)
            self._free -= wanted
        return Share("cpu", None, lambda: self._give_back(wanted))

    def _give_back(self, cores: int) -> None:
        with self._changed:
            self._free += cores
            self._changed.notify_all()


class Gpus:
    """The CUDA devices of this machine, one to a run."""

    def __init__(self, devices: list[str]) -> None:
        self._free = list(devices)
        self._changed = threading.Condition()

    def take(self, threads: int, given_up: threading.Event) -> Share | None:
        """See `Devices`; threads do not matter here."""
        with self._changed:
            while not self._free:
                if given_up.is_set():
                    return None
                self._changed.wait(0.2)
            device = self._free.pop(0)
        return Share(f"cuda:{device}", device, lambda: self._give_back(device))

    def _give_back(self, device: str) -> None:
        with self._changed:
            self._free.append(device)
            self._changed.notify_all()


def find_gpus(visible: str | None = None, root: Path = Path("/dev")) -> list[str]:
    """Ids of the CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES names them.

    Args:
        visible: the value of CUDA_VISIBLE_DEVICES, which wins.
        root: where the kernel lists devices.
    """
    if visible is not None:
        named = (device.strip() for device in visible.split(","))
        # CUDA itself reads the list up to the first device that cannot be: -1 hides the rest.
        return list(takewhile(lambda device: device and not device.startswith("-"), named))
    found = (re.fullmatch(r"nvidia(\d+)", name) for name in os.listdir(root))
    return [str(index) for index in sorted(int(match[1]) for match in found if match)]
