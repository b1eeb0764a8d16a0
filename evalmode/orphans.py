"""Grandchildren whose own parent died: adopted, so that none is left and none stays a zombie.

Linux gives them to the nearest ancestor that asked for them; elsewhere this file does nothing.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # from linux/prctl.h


def adopt() -> None:
    """Become the parent of every later orphan among our descendants."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap(own: Container[int]) -> None:
    """Collect dead adopted processes; `own` children are collected by those who started them."""
    with suppress(ChildProcessError):
        while True:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if dead is None or dead.si_pid in own:
                return
            os.waitpid(dead.si_pid, 0)


def kill_all() -> None:
    """Kill and collect every child that is left, and theirs, as they come to us in turn."""
    while left := children(os.getpid()):
        for pid in left:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def children(parent: int) -> list[int]:
    """Process ids of the direct children of a process, zombies included."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name in parentheses may hold spaces; the parent is the second word after it.
            if int(entry.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.parent.name))
    return found
