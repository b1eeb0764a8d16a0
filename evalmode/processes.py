"""Child processes kept alive: started, watched, started again with backoff, ended in time.

Every child runs in its own session, so ctrl-C in a terminal reaches only us, and is tied to
us by the kernel, so that none is left when we are killed. Knows roles, not what they do.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core import logs

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 5.0
STEADY_SECONDS = 10.0  # a child that lived this long starts with the first delay again
HOPELESS = 5  # deaths in a row soon after the start
POLL_SECONDS = 0.02
_CODE = Path(__file__).resolve().parents[1]
_TETHER = str(Path(__file__).with_name("tether.py"))

log = logs.get("evalmode.processes")


class ChildFails(Exception):
    """A role dies again and again soon after its start."""

    def __init__(self, role: str) -> None:
        super().__init__(f"{role} ended {HOPELESS} times in a row; the log above says why")


@dataclass(frozen=True)
class Command:
    """What a role runs."""

    role: str  # its name in processes.json and in the log
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)  # the child's whole environment
    stdin: bytes = field(default=b"", repr=False)  # secrets come this way, not in argv
    descriptors: tuple[int, ...] = ()  # kept open in the child, under the same numbers
    grace_seconds: float = 20.0  # between SIGTERM and SIGKILL
    after_failure: Callable[[int], None] | None = None  # told how often in a row it failed


def tethered(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The argv under which `argv` dies with the calling process."""
    return (sys.executable, "-I", "-S", _TETHER, str(os.getpid()), *argv)


def for_python(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which Python finds this code, wherever it is started.

    The rooms' names are common words: a folder `api` in the present one must not win.
    """
    found = {**environment, "PYTHONSAFEPATH": "1"}
    if (_CODE / "pyproject.toml").is_file():  # a checkout; what is installed is found anyway
        found["PYTHONPATH"] = f"{_CODE}:{found.get('PYTHONPATH', '')}".rstrip(":")
    return found


async def start(command: Command) -> asyncio.subprocess.Process:
    """Start a command; its standard output goes to our standard error.

    Must run in the main thread: the kernel's tie is to the thread that starts a child.
    """
    process = await asyncio.create_subprocess_exec(
        *tethered(command.argv),
        env=dict(command.environment),
        stdin=asyncio.subprocess.PIPE if command.stdin else asyncio.subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        pass_fds=command.descriptors,
        start_new_session=True,
    )
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(command.stdin)
            await process.stdin.drain()
        process.stdin.close()
    return process


class Kept:
    """One role that is started again whenever it dies, until it is stopped."""

    def __init__(self, command: Command, changed: Callable[[], None]) -> None:
        self.command = command
        self.pid: int | None = None
        self.failures = 0  # ends in a row before STEADY_SECONDS
        self._changed = changed
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """End the process and return when it is gone."""
        self._stopping.set()
        await self._task

    async def _keep(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            end = await self._live_once()
            if not self._stopping.is_set():
                await self._after_death(end, time.monotonic() - began)

    async def _live_once(self) -> str:
        try:
            process = await start(self.command)
        except OSError as refused:  # no memory or no process left: as good as a death
            return str(refused)
        self._note(process.pid)
        await self._until_end(process)
        self._note(None)
        return f"exit status {process.returncode}"

    async def _until_end(self, process: asyncio.subprocess.Process) -> None:
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            process.terminate()
            await asyncio.wait({ended}, timeout=self.command.grace_seconds)
        if not ended.done():
            log.warning("killed after its grace", role=self.command.role, pid=process.pid)
            process.kill()
        await ended

    async def _after_death(self, end: str, lived_seconds: float) -> None:
        self.failures = 1 if lived_seconds >= STEADY_SECONDS else self.failures + 1
        delay = delay_seconds(self.failures)
        log.warning("a child died", role=self.command.role, end=end, again_in_seconds=delay)
        if self.command.after_failure is not None:
            self.command.after_failure(self.failures)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay)

    def _note(self, pid: int | None) -> None:
        self.pid = pid
        if pid is not None:
            log.info("started", role=self.command.role, pid=pid)
        self._changed()


def delay_seconds(failures: int) -> float:
    """Time to wait before a start, after so many failures in a row: 0.2 s doubling to 5 s."""
    return min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** (failures - 1))


class Processes:
    """All roles of one machine, and the file that tells their process ids."""

    def __init__(self, listing: Path) -> None:
        self._listing = listing
        self._kept: dict[str, Kept] = {}

    def keep(self, command: Command) -> None:
        """Start a role and keep it alive."""
        self._kept[command.role] = Kept(command, self._write)

    @property
    def pids(self) -> dict[str, int]:
        """Process id of every role that lives now."""
        return {role: kept.pid for role, kept in self._kept.items() if kept.pid is not None}

    async def stop(self, roles: Container[str]) -> None:
        """End these roles at the same time; those never started are as good as ended."""
        chosen = [kept for role, kept in self._kept.items() if role in roles]
        await asyncio.gather(*(kept.stop() for kept in chosen))

    @property
    def roles(self) -> tuple[str, ...]:
        """Names of all roles, in the order of their start."""
        return tuple(self._kept)

    async def until(self, is_done: Callable[[], Awaitable[bool]]) -> None:
        """Return when `is_done`.

        Raises:
            ChildFails: a role dies again and again soon after its start.
        """
        while not await is_done():
            for role, kept in self._kept.items():
                if kept.failures >= HOPELESS:
                    raise ChildFails(role)
            await asyncio.sleep(POLL_SECONDS)

    def _write(self) -> None:
        partial = self._listing.with_suffix(".partial")
        try:
            partial.write_text(json.dumps(self.pids))
            partial.replace(self._listing)
        except OSError as error:  # a full disk must not end what still runs
            log.warning("cannot list the processes", error=str(error))
