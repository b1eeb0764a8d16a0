"""One thread that writes to SQLite: it takes every transaction that waits and commits them at once.

SQLite's waiters are not a queue, so many writing threads starve each other; and a commit that
survives a power loss costs one flush of the disk however much it holds. It knows no table.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.errors import DatabaseUnavailable

T = TypeVar("T")
# The database's fault, not the work's; InternalError is a PostgreSQL that became a standby.
TROUBLE = (OperationalError, InterfaceError, InternalError, PoolTimeout)
MAX_GROUP = 256  # transactions in one commit; bounds how long other processes wait


@dataclass(frozen=True, eq=False)
class Waiting:
    """A unit of work and where its answer goes."""

    work: Callable[[Connection], Any]
    durable: bool
    answer: Future[Any] = field(default_factory=Future)


class GroupCommit:
    """The only writer of a process. Its thread starts with the first work, not before.

    Args:
        engine: one connection of it is held for as long as the writer lives.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._connection: Connection | None = None
        self._full_sync = True  # what every new connection starts with

    def submit(self, work: Callable[[Connection], T], durable: bool) -> Future[T]:
        """Queue one unit of work; its future ends after the commit that holds it.

        Args:
            work: runs once, in the writer's thread, inside a transaction; only SQL belongs in it.
            durable: the commit must survive a power loss, not only a crash of this process.

        Raises:
            DatabaseUnavailable: the writer is closed.
            RuntimeError: called from inside a unit of work, which would wait for itself.
        """
        waiting = Waiting(work, durable)
        with self._lock:
            if self._closed:
                raise DatabaseUnavailable("The database is closed.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="writer", daemon=True)
                self._thread.start()
            if threading.current_thread() is self._thread:
                raise RuntimeError("a unit of work cannot wait for another one")
            self._waiting.put(waiting)
        return waiting.answer

    def close(self) -> None:
        """Answer everything that waits, then end the thread. Closing twice is allowed."""
        with self._lock:
            self._closed = True
            thread = self._thread
            self._waiting.put(None)
        if thread is not None:
            thread.join()

    def _serve(self) -> None:
        open_for_more = True
        while open_for_more:
            group, open_for_more = self._next_group()
            if group:
                self._commit_surviving(group)
        self._disconnect()

    def _next_group(self) -> tuple[list[Waiting], bool]:
        """Everything that waits, up to the bound, and whether more may come."""
        group: list[Waiting] = []
        item = self._waiting.get()
        while item is not None:
            # A caller that has gone before its turn gets nothing done in its name.
            if item.answer.set_running_or_notify_cancel():
                group.append(item)
            if len(group) == MAX_GROUP:
                return group, True
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _commit_surviving(self, group: list[Waiting]) -> None:
        """Commit a group; whatever goes wrong reaches the callers, never the thread's top."""
        try:
            answers = self._commit(group)
        except BaseException as error:
            self._disconnect()
            if _is_locked(error):  # the others have waited for the same lock just as long
                group = group + self._drain()
            _refuse(group, error)
            return
        for waiting, (value, failed) in zip(group, answers, strict=True):
            if failed is None:
                waiting.answer.set_result(value)
            else:
                waiting.answer.set_exception(failed)

    def _drain(self) -> list[Waiting]:
        """What waits now, and nothing that comes later."""
        size = self._waiting.qsize()
        items = [self._waiting.get() for _ in range(size)]
        if None in items:
            self._waiting.put(None)
        return [i for i in items if i is not None and i.answer.set_running_or_notify_cancel()]

    def _commit(self, group: list[Waiting]) -> list[tuple[Any, BaseException | None]]:
        connection = self._connected(any(waiting.durable for waiting in group))
        with connection.begin():  # asks for the write lock before anything is read
            return [_run(connection, waiting.work) for waiting in group]

    def _connected(self, full_sync: bool) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            self._full_sync = True
        if full_sync is not self._full_sync:
            level = "FULL" if full_sync else "NORMAL"
            _driver(self._connection).execute(f"PRAGMA synchronous={level}")
            self._full_sync = full_sync
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except (DBAPIError, sqlite3.Error):
                return  # it is given up either way; the next group opens another


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _run(
    connection: Connection, work: Callable[[Connection], Any]
) -> tuple[Any, BaseException | None]:
    """Run one unit of work so that its failure undoes its own statements and nobody else's."""
    driver = _driver(connection)
    driver.execute("SAVEPOINT work")
    try:
        value = work(connection)
    except BaseException as error:
        # Fails when SQLite itself gave the transaction up (disk full); then the group fails.
        driver.execute("ROLLBACK TO work")
        driver.execute("RELEASE work")
        return None, _for_the_caller(error)
    driver.execute("RELEASE work")
    return value, None


def _for_the_caller(error: BaseException) -> BaseException:
    if isinstance(error, TROUBLE):
        return _unavailable(error)
    if isinstance(error, StopIteration):  # asyncio cannot carry one
        return RuntimeError(f"a unit of work raised {error!r}")
    return error


def _unavailable(cause: BaseException) -> DatabaseUnavailable:
    failure = DatabaseUnavailable()
    failure.__cause__ = cause
    return failure


def _refuse(group: list[Waiting], cause: BaseException) -> None:
    for waiting in group:
        waiting.answer.set_exception(_unavailable(cause))


def _is_locked(error: BaseException) -> bool:
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY  # its low byte
