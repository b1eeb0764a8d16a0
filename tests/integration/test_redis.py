import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis as Connection
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ResponseError
from redis.retry import Retry

from evalmode.processes import Processes
from evalmode.redis import REMOVED_COMMANDS, Redis, find_server


@pytest.fixture
def server(tmp_path: Path) -> Redis:
    return Redis(tmp_path, tmp_path / 'so"ck et', "s3cret")


def with_server(server: Redis, work: Callable[[], None]) -> None:
    async def run() -> None:
        processes = Processes(server.folder / "processes.json")
        try:
            processes.keep(server.command(find_server(), {"PATH": os.defpath}, 2))
            await processes.until(server.answers)
            await asyncio.to_thread(work)
        finally:
            await processes.stop(processes.roles)

    asyncio.run(run())


def test_it_wants_the_password_and_lacks_the_removed_commands(server: Redis) -> None:
    def work() -> None:
        once = Retry(NoBackoff(), 0)
        stranger = Connection(unix_socket_path=str(server.socket), retry=once)
        with stranger, pytest.raises(AuthenticationError):
            stranger.ping()
        with Connection(unix_socket_path=str(server.socket), password="s3cret") as friend:
            assert friend.ping()
            for command in REMOVED_COMMANDS:
                with pytest.raises(ResponseError, match="unknown command"):
                    friend.execute_command(command)
        assert server.socket.stat().st_mode & 0o777 == 0o700

    with_server(server, work)


def test_what_was_queued_is_there_after_a_restart(server: Redis) -> None:
    def push() -> None:
        with Connection(unix_socket_path=str(server.socket), password="s3cret") as friend:
            friend.rpush("cpu", "hint")

    def look() -> None:
        with Connection(unix_socket_path=str(server.socket), password="s3cret") as friend:
            assert friend.lrange("cpu", 0, -1) == [b"hint"]

    with_server(server, push)
    with_server(server, look)


def test_a_queue_file_that_cannot_be_read_is_set_aside(server: Redis) -> None:
    (server.folder / "appendonly.aof").write_bytes(b"*2\r\nnot a command at all\r\n" * 9)
    with_server(server, lambda: None)
    aside = list(server.folder.glob("unreadable-*/appendonly.aof"))
    assert len(aside) == 1


def test_the_servers_own_program_is_preferred_to_the_wheels() -> None:
    assert find_server(lambda name: f"/usr/bin/{name}") == "/usr/bin/redis-server"
    wheel = find_server(lambda name: None)
    assert "Redis server v=" in subprocess.check_output([wheel, "--version"], text=True)
