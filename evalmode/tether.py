"""Become a command that the kernel kills when its parent dies: `tether.py <parent pid> <argv…>`.

Started by path with `python -I -S`, so it costs milliseconds; it knows nothing of the project.
The request to the kernel survives `exec`, which is why no code has to run between fork and exec.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def tie_to(parent: int) -> None:
    """Ask the kernel for SIGKILL when the parent's thread that started us ends.

    Raises:
        OSError: the kernel refused.
        SystemExit: the parent had died before we could ask.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != parent:
        raise SystemExit(1)


if __name__ == "__main__":
    tie_to(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
