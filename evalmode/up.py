"""`evalmode up`: Redis, workers and the API of one machine as children of one process.

It starts them in order, says when a run would start at full speed, and ends them in order.
It never looks into a run.
"""

import asyncio
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import httpx

from core import logs
from core.database import Database
from core.queue import prepare_socket_folder
from core.settings import Settings, broker_url, environment, socket_path
from core.workers import alive
from evalmode import orphans, redis
from evalmode.lock import lock
from evalmode.processes import Command, Processes, for_python
from evalmode.redis import Redis
from worker.devices import find_gpus

LISTING = "processes.json"
BACKLOG = 2048  # connections that wait while an API process starts again
MARGIN_SECONDS = 5.0  # on top of what a child gives itself, before it is killed
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

log = logs.get("evalmode.up")


class AddressTaken(Exception):
    """The address cannot be listened on; the message says why."""


@dataclass(frozen=True)
class Held:
    """What belongs to one `up` alone, taken before anything is started."""

    lock: int  # descriptor
    listener: socket.socket  # shared by every API process, so a restart refuses nobody
    password: str  # of the embedded Redis

    @property
    def port(self) -> int:
        """Where the listener is bound."""
        return int(self.listener.getsockname()[1])


def up(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or ctrl-C and return when no child is left.

    Args:
        settings: what to serve.
        announce: called once with the address, when a run would start at full speed.

    Raises:
        DataFolderInUse: another `up` has the data folder.
        AddressTaken: the port is in use.
        ChildFails: a child died again and again before all was ready.
        RedisMissing: there is no Redis to start.
    """
    held = Held(lock(settings.data), bind(settings.host, settings.port), secrets.token_urlsafe(32))
    orphans.adopt()
    asyncio.run(Up(settings, held).serve(announce))


def bind(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 takes a free one.

    Raises:
        AddressTaken: the address is taken or does not exist.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as refused:
        raise AddressTaken(f"cannot listen on {host} port {port}: {refused.strerror}") from None


class Up:
    """The children of one service, from start to end."""

    def __init__(self, settings: Settings, held: Held) -> None:
        own_redis = "broker_url" not in settings.model_fields_set
        url = broker_url(settings.data, held.password) if own_redis else settings.broker_url
        self._settings = settings.model_copy(update={"broker_url": url, "port": held.port})
        self._own_redis = own_redis
        self._held = held
        self._processes = Processes(settings.data / LISTING)

    async def serve(self, announce: Callable[[str], None]) -> None:
        """Start, announce, wait for a signal, end."""
        stop = _stop_signal()
        start = asyncio.create_task(self._start())
        waiting = asyncio.create_task(stop.wait())
        collecting = asyncio.create_task(self._collect_orphans())
        try:
            await asyncio.wait({start, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                start.result()
                announce(address(self._settings.host, self._held.port))
                await stop.wait()
        finally:
            for task in (start, waiting, collecting):
                task.cancel()
            await self._end()

    async def _start(self) -> None:
        if self._own_redis:
            await self._start_redis()
        with Database(self._settings.database_url) as database:
            await asyncio.to_thread(database.migrate)
            workers = worker_commands(self._settings)
            for command in [*workers, *api_commands(self._settings, self._held.listener)]:
                self._processes.keep(command)
            async with httpx.AsyncClient(base_url=self._own_url, trust_env=False) as client:
                await self._processes.until(lambda: accepts(client))
            await self._processes.until(lambda: self._have_joined(workers, database))

    @property
    def _own_url(self) -> str:
        any_address = self._settings.host in {"0.0.0.0", "::"}  # cannot be connected to
        host = "127.0.0.1" if any_address else self._settings.host
        return address(host, self._held.port)

    async def _have_joined(self, commands: list[Command], database: Database) -> bool:
        """Whether each of our workers says that it takes runs; rows of dead ones do not count."""
        within = self._settings.alive_seconds
        joined = {worker.pid for worker in await database.aread(lambda c: alive(c, within))}
        return {self._processes.pids.get(command.role) for command in commands} <= joined

    async def _start_redis(self) -> None:
        folder = self._settings.data / "redis"
        folder.mkdir(mode=0o700, exist_ok=True)
        prepare_socket_folder(self._settings.data)
        server = Redis(folder, socket_path(self._settings.data), self._held.password)
        child = _environment(self._settings)
        command = server.command(redis.find_server(), child, self._held.lock)
        self._processes.keep(command)
        await self._processes.until(server.answers)

    async def _collect_orphans(self) -> None:
        while True:
            await asyncio.sleep(1)
            orphans.reap(self._processes.pids.values())

    async def _end(self) -> None:
        self._held.listener.close()
        log.info("ending")
        await self._processes.stop(set(self._processes.roles) - {redis.ROLE})
        await self._processes.stop({redis.ROLE})
        orphans.kill_all()
        (self._settings.data / LISTING).unlink(missing_ok=True)


def worker_commands(settings: Settings) -> list[Command]:
    """One worker for the cores of this machine, and one for its GPUs if it shows any."""
    queues = {"cpu": settings.slots}
    if gpus := find_gpus(environment(settings).get("CUDA_VISIBLE_DEVICES")):
        queues["gpu"] = len(gpus)
    return [
        Command(
            role=numbered("worker", index),
            argv=(sys.executable, "-m", "worker"),
            environment=_environment(settings, worker_queue=queue, slots=slots),
            grace_seconds=settings.shutdown_seconds + 2 * MARGIN_SECONDS,
        )
        for index, (queue, slots) in enumerate(queues.items())
    ]


def api_commands(settings: Settings, listener: socket.socket) -> list[Command]:
    """The API processes, all on one socket."""
    return [
        Command(
            role=numbered("api", index),
            argv=(sys.executable, "-m", "api", "--fd", str(listener.fileno())),
            environment=_environment(settings),
            descriptors=(listener.fileno(),),
            grace_seconds=settings.shutdown_seconds + MARGIN_SECONDS,
        )
        for index in range(settings.api_processes)
    ]


def _environment(settings: Settings, **changes: str | int) -> dict[str, str]:
    return for_python(environment(settings.model_copy(update=changes)))


async def accepts(client: httpx.AsyncClient) -> bool:
    """Whether the API would accept a run and can send its hint."""
    with suppress(httpx.HTTPError):
        answer = await client.get("/health/ready", timeout=2)
        return answer.status_code == httpx.codes.OK and bool(answer.json()["broker"])
    return False


def address(host: str, port: int) -> str:
    """The URL of a host, with the brackets that IPv6 needs."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def numbered(role: str, index: int) -> str:
    """`worker`, `worker-2`, `worker-3`."""
    return role if index == 0 else f"{role}-{index + 1}"


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in STOPPING:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
