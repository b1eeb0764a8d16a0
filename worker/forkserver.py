"""Where trainers come from: a forkserver that has imported everything and done nothing.

A process forked from one that has run torch may hang in its first parallel operation; a
cold one takes seconds to import torch. The forkserver has only imported, so its children
start in milliseconds and are as good as new.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.util import get_temp_dir
from typing import Any

from worker.channel import Channel

PRELOAD = ["worker.child"]
PR_SET_PDEATHSIG = 1
LONGEST_FOLDER = 70  # bytes; a socket's path has 107, of which the library's names take 32


@dataclass(frozen=True)
class Child:
    """A process of the forkserver and our end of the pipe to it."""

    process: ForkServerProcess
    channel: Channel

    def close(self) -> None:
        """Close our end, which ends a child that waits for a message, and reap it."""
        self.channel.close()
        self.process.join()


def context() -> ForkServerContext:
    """The context that trainers are started from."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(PRELOAD)
    _make_folder()
    return forks


def _make_folder() -> None:
    """Make the folder of the library's sockets, once, where their paths are short enough."""
    chosen = tempfile.tempdir
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_FOLDER:
        tempfile.tempdir = "/tmp"
    try:
        get_temp_dir()
    finally:
        tempfile.tempdir = chosen


def launch() -> None:
    """Start the forkserver, which begins to import; does not wait for it."""
    context()
    forkserver.ensure_running()


def start(target: Callable[["Connection[Any, Any]"], None]) -> Child:
    """Start `target(connection)` in a child of the forkserver.

    Raises:
        OSError: the forkserver ended just now; the next call starts another.
        EOFError: as above.
    """
    forks = context()
    here, there = forks.Pipe()
    process = forks.Process(target=target, args=(there,), daemon=False)
    process.start()
    there.close()
    return Child(process, Channel(here))


def warm() -> None:
    """Return once the forkserver has imported and a child has answered.

    Raises:
        RuntimeError: the forkserver could not import the trainer (the library hides why).
    """
    child = start(_report_preload)
    try:
        loaded = child.channel.receive()["loaded"]
    except EOFError:
        loaded = False
    child.close()
    if not loaded:
        raise RuntimeError("the forkserver could not import worker.child")


def pid() -> int | None:
    """Process id of the forkserver, once it runs."""
    found: int | None = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return found


def die_with_forkserver() -> None:
    """Own session, and SIGKILL from the kernel when the forkserver ends.

    The kernel binds this signal to the thread that forked; the forkserver has only one.
    """
    os.setsid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(0)


def _report_preload(connection: "Connection[Any, Any]") -> None:
    Channel(connection).send("preload", loaded="worker.child" in sys.modules)
