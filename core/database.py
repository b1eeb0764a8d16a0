"""One transaction per unit of work, on SQLite and on PostgreSQL; it knows no table.

A unit of work is a function of one connection that runs SQL and nothing else: no file, no
message, no tensor, for locks are held until it returns. What a caller may rely on: it runs at
most once to a commit, and when the call returns, the commit has happened.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, OperationalError

from core import engines
from core.errors import DatabaseUnavailable
from core.group_commit import TROUBLE, GroupCommit
from core.migrations.upgrade import upgrade

T = TypeVar("T")
Work = Callable[[Connection], T]

_TRY_AGAIN = {"40001", "40P01"}  # serialization failure, deadlock: the server asks for it


class Database:
    """Where records live. Nothing is opened, and no thread started, before the first use.

    Args:
        url: `sqlite:////folder/evalmode.db` (a file: several processes share it) or
            `postgresql://user:password@host/name`.

    Raises:
        ValueError: the URL is of another database, or of an SQLite database in memory.
    """

    def __init__(self, url: str) -> None:
        self._url = engines.checked(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        if self.is_sqlite:
            self._reader = engines.sqlite_reader(self._url)
            self._writer = engines.sqlite_writer(self._url)
            self._group: GroupCommit | None = GroupCommit(self._writer)
        else:
            self._writer = engines.postgres(self._url)
            self._reader = self._writer.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            self._group = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def read(self, work: Work[T]) -> T:
        """Run `work` on one snapshot and return what it returns; it cannot change anything.

        Raises:
            DatabaseUnavailable: no answer in time.
        """
        try:
            with self._reader.connect() as connection:
                return work(connection)
        except TROUBLE as error:
            raise DatabaseUnavailable() from error

    def write(self, work: Work[T], durable: bool = True) -> T:
        """Run `work` in a transaction, commit it and return what it returned.

        Args:
            work: raising anything undoes it, and the exception reaches the caller.
            durable: whether the commit must survive a power loss. A crash of this process
                loses nothing either way.

        Raises:
            DatabaseUnavailable: no commit is known to have happened.
        """
        if self._group is not None:
            return self._group.submit(work, durable).result()
        try:
            return self._write_postgres(work, durable)
        except TROUBLE as error:
            raise DatabaseUnavailable() from error

    async def aread(self, work: Work[T]) -> T:
        """`read` for asyncio callers; the loop goes on meanwhile."""
        return await asyncio.wrap_future(self._in_thread(lambda: self.read(work)))

    async def awrite(self, work: Work[T], durable: bool = True) -> T:
        """`write` for asyncio callers; the loop goes on meanwhile.

        A caller that is cancelled before its turn changes nothing; later, the commit stands.
        """
        if self._group is not None:
            return await asyncio.wrap_future(self._group.submit(work, durable))
        return await asyncio.wrap_future(self._in_thread(lambda: self.write(work, durable)))

    def migrate(self) -> None:
        """Bring the tables to this version; two processes may do it at once.

        Raises:
            DatabaseUnavailable: no answer in time.
        """
        if self.is_sqlite and self._url.database:
            Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._writer.begin() as connection:
                if not self.is_sqlite:  # SQLite holds its write lock already
                    connection.execute(text("SELECT pg_advisory_xact_lock(20261122)"))
                upgrade(connection)
        except TROUBLE as error:
            raise DatabaseUnavailable() from error

    def close(self) -> None:
        """Answer everything that waits, then let go of every connection and thread."""
        if self._group is not None:
            self._group.close()
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=True)
        self._reader.dispose()
        self._writer.dispose()

    def _in_thread(self, call: Callable[[], T]) -> Future[T]:
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(engines.POOL_SIZE, thread_name_prefix="database")
            return self._threads.submit(call)

    def _write_postgres(self, work: Work[T], durable: bool) -> T:
        """Try twice, but only where the server is known to have committed nothing."""
        with self._writer.connect() as connection:
            try:
                value = _run(connection, work, durable)
            except OperationalError as error:
                if not _is_undone(error):
                    raise
                connection.rollback()
                value = _run(connection, work, durable)
            connection.commit()
            return value


def _run(connection: Connection, work: Work[T], durable: bool) -> T:
    if not durable:
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
    return work(connection)


def _is_undone(error: DBAPIError) -> bool:
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _TRY_AGAIN
