"""One `up` per data folder: an flock that every process writing the folder's queue file shares.

Two Redis servers on one append-only file lose data, so the lock is held until the last
holder of the descriptor is gone, not only until `up` is.
"""

import fcntl
import os
import time
from pathlib import Path

NAME = "up.lock"
HAND_OVER_SECONDS = 2.0  # children of a killed `up` need a moment to die and let go


class DataFolderInUse(Exception):
    """Another `up` owns the data folder."""

    def __init__(self, data: Path, owner: str) -> None:
        who = f" (process {owner})" if owner else ""
        super().__init__(f"another `evalmode up`{who} already uses the data folder {data}")


def lock(data: Path, patience_seconds: float = HAND_OVER_SECONDS) -> int:
    """Take the folder, which is made if missing, and return the descriptor that holds it.

    The lock ends when every process that has the descriptor has closed it or died.

    Raises:
        DataFolderInUse: somebody still holds it after `patience_seconds`.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(data / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give_up_at = time.monotonic() + patience_seconds
    while not _try(descriptor):
        if time.monotonic() >= give_up_at:
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise DataFolderInUse(data, owner)
        time.sleep(0.05)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
