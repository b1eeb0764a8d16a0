"""The recipes for SQLite and PostgreSQL: how connections are opened and transactions begin."""

import json
import sqlite3
import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.pool import NullPool

from core.clock import READ_ONLY

POOL_SIZE = 16
BUSY_SECONDS = 30.0  # how long anybody waits for SQLite's write lock
_POLL_MILLISECONDS = 5
_POSTGRES_OPTIONS = (
    "-c statement_timeout=30000 -c lock_timeout=10000"
    " -c idle_in_transaction_session_timeout=30000 -c timezone=UTC"
)


def checked(url: str) -> URL:
    """The URL with the driver we use.

    Raises:
        ValueError: it is of another database, or of an SQLite database in memory.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "sqlite":
        raise ValueError(f"expected sqlite or postgresql, got {parsed.get_backend_name()}")
    if not parsed.database or parsed.database == ":memory:":
        raise ValueError("an SQLite database in memory cannot be shared: name a file")
    return parsed.set(drivername="sqlite+pysqlite")


def postgres(url: URL) -> Engine:
    """Pooled connections, tested before use, on which nothing waits for ever."""
    connect = {"connect_timeout": 5, "options": _POSTGRES_OPTIONS, "application_name": "evalmode"}
    return create_engine(
        url,
        json_serializer=_json,
        pool_size=POOL_SIZE,
        max_overflow=4,
        pool_timeout=10,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args=connect,
    )


def sqlite_reader(url: URL) -> Engine:
    """Pooled connections that cannot write; each transaction sees one moment."""
    engine = create_engine(
        url,
        json_serializer=_json,
        pool_size=POOL_SIZE,
        max_overflow=4,
        pool_timeout=10,
        hide_parameters=True,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def on_connect(driver: sqlite3.Connection, record: Any) -> None:
        record.info[READ_ONLY] = True
        _set_up(driver, "query_only=ON")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def sqlite_writer(url: URL) -> Engine:
    """Connections whose transactions hold the write lock from their first moment.

    Asking for it only once something was read would lose updates or fail without waiting.
    """
    engine = create_engine(
        url,
        json_serializer=_json,
        poolclass=NullPool,
        hide_parameters=True,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def on_connect(driver: sqlite3.Connection, _: Any) -> None:
        _set_up(driver, "synchronous=FULL", "foreign_keys=ON")
        driver.execute(f"PRAGMA busy_timeout={_POLL_MILLISECONDS}").close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        _wait_for_the_lock(connection)

    return engine


def _wait_for_the_lock(connection: Connection) -> None:
    """Ask every few milliseconds.

    SQLite's own waiting sleeps up to 100 ms at a time, so that a process which writes without
    a break would keep all others out for seconds.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    while time.monotonic() < deadline:
        try:
            driver.execute("BEGIN IMMEDIATE").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                break
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails as SQLAlchemy's callers expect


def _set_up(driver: sqlite3.Connection, *pragmas: str) -> None:
    driver.isolation_level = None  # the driver's own BEGIN comes too late
    patience = f"busy_timeout={int(BUSY_SECONDS * 1000)}"
    for pragma in (patience, "journal_mode=WAL", *pragmas):
        driver.execute(f"PRAGMA {pragma}").close()


def _json(value: Any) -> str:
    # NaN would be refused by PostgreSQL and by every JSON reader, so it is refused here.
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
