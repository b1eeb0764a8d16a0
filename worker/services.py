"""Everything outside that a worker uses, opened once and handed to whoever needs it."""

import os
import platform
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path

from core.database import Database
from core.files import FileStore
from core.queue import Hints
from core.settings import Settings


@dataclass(frozen=True)
class Services:
    """One worker's connections and identity."""

    settings: Settings
    database: Database
    files: FileStore
    hints: Hints
    worker_id: str = field(default_factory=lambda: worker_id(os.getpid()))
    host: str = field(default_factory=lambda: host_identity())
    draining: threading.Event = field(default_factory=threading.Event)


def host_identity() -> str:
    """Names the process table that this process's pids belong to.

    Two containers may share a host name and a kernel, but a pid means something only inside
    one namespace of one boot.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{platform.node()}/{boot}/{os.readlink('/proc/self/ns/pid')}"


def worker_id(pid: int) -> str:
    """The id of a worker process: unique, and on its own host enough to see if it lives."""
    return f"worker-{pid}-{started_at(pid)}-{secrets.token_hex(8)}"


def started_at(pid: int) -> int | None:
    """Clock ticks since boot when a process began; None if it is gone or only a zombie.

    A pid and this number name a process for ever: a pid alone is used again.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])
