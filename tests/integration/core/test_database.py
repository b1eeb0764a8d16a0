import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from core import engines, group_commit
from core.database import Database
from core.errors import DatabaseUnavailable

COUNT = """
import sys
from sqlalchemy import text
from core.database import Database

def one_more(connection):
    seen = connection.execute(text("SELECT offset_seconds FROM clocks")).scalar_one()
    connection.execute(text("UPDATE clocks SET offset_seconds = :n"), {"n": seen + 1})

with Database(sys.argv[1]) as database:
    for _ in range(100):
        database.write(one_more, durable=False)
"""


def put(name: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.execute(text("INSERT INTO clocks VALUES (:name, 0)"), {"name": name})
        return name

    return work


def names(database: Database) -> list[str]:
    query = text("SELECT boot FROM clocks ORDER BY boot")
    return list(database.read(lambda c: c.execute(query).scalars().all()))


class Gate:
    """A unit of work that holds the writer until it is opened."""

    def __init__(self, database: Database) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: database.write(self._work))
        self._thread.start()
        assert self.entered.wait(10)

    def _work(self, connection: Connection) -> None:
        self.entered.set()
        assert self.opened.wait(20)

    def open(self) -> None:
        self.opened.set()
        self._thread.join()


@pytest.fixture
def on_sqlite(sqlite_url: str) -> Database:
    return Database(sqlite_url)


def test_what_was_written_is_read_and_returned(database: Database) -> None:
    assert database.write(put("a")) == "a"
    assert names(database) == ["a"]


def test_a_failing_work_undoes_itself_and_tells_its_caller(database: Database) -> None:
    def work(connection: Connection) -> None:
        put("half")(connection)
        raise LookupError("not this")

    with pytest.raises(LookupError, match="not this"):
        database.write(work)
    assert names(database) == []


def test_a_broken_constraint_reaches_its_caller(database: Database) -> None:
    database.write(put("a"))
    with pytest.raises(IntegrityError):
        database.write(put("a"))


def test_reading_cannot_change_anything(database: Database) -> None:
    with pytest.raises(Exception, match=r"readonly|read-only|did not answer"):
        database.read(put("a"))
    assert names(database) == []


def test_a_read_sees_one_moment(database: Database) -> None:
    count = text("SELECT count(*) FROM clocks")

    def twice(connection: Connection) -> tuple[int, int]:
        before = connection.execute(count).scalar_one()
        database.write(put("meanwhile"))
        return before, connection.execute(count).scalar_one()

    assert database.read(twice) == (0, 0)
    assert names(database) == ["meanwhile"]


def test_a_read_sees_every_write_that_has_returned(database: Database) -> None:
    for i in range(20):
        database.write(put(f"{i:02}"), durable=False)
        assert len(names(database)) == i + 1


def test_asyncio_callers_share_the_loop(database: Database) -> None:
    async def all_at_once() -> list[str]:
        await asyncio.gather(*(database.awrite(put(f"{i:02}")) for i in range(40)))
        return await database.aread(
            lambda c: list(c.execute(text("SELECT boot FROM clocks")).scalars())
        )

    assert len(asyncio.run(all_at_once())) == 40


def test_the_loop_goes_on_while_a_write_waits(on_sqlite: Database) -> None:
    async def waits() -> int:
        gate = Gate(on_sqlite)
        write = asyncio.create_task(on_sqlite.awrite(put("a")))
        turns = 0
        while turns < 50 and not write.done():
            await asyncio.sleep(0.001)
            turns += 1
        await asyncio.to_thread(gate.open)
        await write
        return turns

    with on_sqlite:
        assert asyncio.run(waits()) == 50


def test_a_caller_that_is_gone_before_its_turn_changes_nothing(on_sqlite: Database) -> None:
    async def gives_up() -> None:
        gate = Gate(on_sqlite)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(on_sqlite.awrite(put("late")), 0.05)
        await asyncio.to_thread(gate.open)
        await on_sqlite.awrite(put("next"))

    with on_sqlite:
        asyncio.run(gives_up())
        assert names(on_sqlite) == ["next"]


def test_transactions_that_wait_together_are_committed_once(sqlite_url: str) -> None:
    log = Path(sqlite_url.removeprefix("sqlite:///") + "-wal")
    with Database(sqlite_url) as database, ThreadPoolExecutor(20) as threads:
        gate = Gate(database)
        before = log.stat().st_size
        waiting = [threads.submit(database.write, put(f"{i:02}")) for i in range(20)]
        time.sleep(0.2)
        gate.open()
        assert sorted(future.result() for future in waiting) == names(database)
        # A commit logs each page it changed once; twenty commits would log twenty times two.
        assert (log.stat().st_size - before) // 4096 < 10


@pytest.mark.parametrize("failure", [LookupError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_failure_in_company_harms_nobody_else(
    on_sqlite: Database, failure: type[BaseException]
) -> None:
    def fails(connection: Connection) -> None:
        put("half")(connection)
        raise failure

    with on_sqlite, ThreadPoolExecutor(3) as threads:
        gate = Gate(on_sqlite)
        first = threads.submit(on_sqlite.write, put("first"))
        failing = threads.submit(on_sqlite.write, fails)
        last = threads.submit(on_sqlite.write, put("last"))
        time.sleep(0.2)
        gate.open()
        assert (first.result(), last.result()) == ("first", "last")
        assert isinstance(failing.exception(), failure)
        assert names(on_sqlite) == ["first", "last"]


def test_an_iterator_that_ends_in_a_work_reaches_an_asyncio_caller(on_sqlite: Database) -> None:
    with on_sqlite, pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(asyncio.wait_for(on_sqlite.awrite(lambda c: next(iter(()))), 5))


def test_a_full_disk_fails_the_group_and_the_next_one_works(on_sqlite: Database) -> None:
    def fills(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count=1")
        put("x" * 1_000_000)(connection)

    with on_sqlite:
        with pytest.raises(DatabaseUnavailable):
            on_sqlite.write(fills)
        on_sqlite.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1000000") and None)
        on_sqlite.write(put("after"))
        assert names(on_sqlite) == ["after"]


def test_a_statement_that_the_database_cannot_run_harms_nobody_else(on_sqlite: Database) -> None:
    with on_sqlite, ThreadPoolExecutor(2) as threads:
        gate = Gate(on_sqlite)
        wrong = threads.submit(on_sqlite.write, lambda c: c.execute(text("SELECT 1 FROM nothing")))
        right = threads.submit(on_sqlite.write, put("right"))
        time.sleep(0.2)
        gate.open()
        assert isinstance(wrong.exception(), DatabaseUnavailable)
        assert right.result() == "right"


def test_more_than_fit_one_commit_are_written_by_several(
    on_sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "MAX_GROUP", 3)
    with on_sqlite, ThreadPoolExecutor(10) as threads:
        gate = Gate(on_sqlite)
        waiting = [threads.submit(on_sqlite.write, put(str(i))) for i in range(10)]
        time.sleep(0.2)
        gate.open()
        assert sorted(future.result() for future in waiting) == names(on_sqlite)


def test_sqlite_flushes_the_disk_for_what_must_survive_a_power_loss(on_sqlite: Database) -> None:
    def level(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    full, normal = 2, 1
    with on_sqlite:
        asked = [True, False, False, True]
        assert [on_sqlite.write(level, durable) for durable in asked] == [
            full,
            normal,
            normal,
            full,
        ]


def test_postgres_waits_for_its_log_for_what_must_survive(postgres_url: str) -> None:
    def level(connection: Connection) -> str:
        return str(connection.execute(text("SHOW synchronous_commit")).scalar_one())

    with Database(postgres_url) as database:
        asked = [True, False, True]
        assert [database.write(level, durable) for durable in asked] == ["on", "off", "on"]


def test_a_work_that_waits_for_another_is_refused(on_sqlite: Database) -> None:
    with on_sqlite, pytest.raises(RuntimeError, match="cannot wait"):
        on_sqlite.write(lambda c: on_sqlite.write(put("inner")))


def test_a_lock_held_too_long_refuses_everything_that_waited_for_it(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0.3)
    with Database(sqlite_url) as database, ThreadPoolExecutor(8) as threads:
        database.write(put("before"))
        other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        waiting = [threads.submit(database.write, put(str(i))) for i in range(8)]
        errors = [future.exception() for future in waiting]
        assert all(isinstance(error, DatabaseUnavailable) for error in errors)
        assert time.monotonic() - started < 2, "they waited one after another"
        assert names(database) == ["before"], "reading needs no lock"
        other.execute("ROLLBACK")
        other.close()
        database.write(put("recovered"))
        assert names(database) == ["before", "recovered"]


def test_a_process_that_writes_without_a_break_keeps_nobody_out(sqlite_url: str) -> None:
    with Database(sqlite_url) as busy, Database(sqlite_url) as other:
        end = time.monotonic() + 2

        def write_on(who: int) -> None:
            for i in range(1_000_000):
                if time.monotonic() > end:
                    return
                busy.write(put(f"{who}-{i}"))

        with ThreadPoolExecutor(8) as threads:
            writing = [threads.submit(write_on, who) for who in range(8)]
            waits = []
            while time.monotonic() < end:
                started = time.monotonic()
                other.write(put(f"other-{len(waits)}"), durable=False)
                waits.append(time.monotonic() - started)
            assert [one.result() for one in writing] == [None] * 8
        assert max(waits) < 1, "SQLite's own waiting takes seconds here"


def test_closing_answers_everything_that_waits(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    gate = Gate(database)
    with ThreadPoolExecutor(9) as threads:
        waiting = [threads.submit(database.write, put(f"{i:02}")) for i in range(8)]
        time.sleep(0.2)
        closing = threads.submit(database.close)
        gate.open()
        closing.result(10)
        assert sorted(future.result(1) for future in waiting) == [f"{i:02}" for i in range(8)]
    with pytest.raises(DatabaseUnavailable, match="closed"):
        database.write(put("too late"))
    database.close()
    with Database(sqlite_url) as again:
        assert len(names(again)) == 8


def test_closing_answers_what_waits_for_a_lock_that_never_comes(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0.5)
    database = Database(sqlite_url)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(database.write, put(str(i))) for i in range(4)]
        time.sleep(0.2)
        database.close()
        assert all(isinstance(one.exception(1), DatabaseUnavailable) for one in waiting)
    other.close()


def test_nothing_is_opened_before_the_first_use(tmp_path: Path) -> None:
    threads = threading.active_count()
    Database(f"sqlite:///{tmp_path}/none.db").close()
    Database("postgresql://nobody@127.0.0.1:1/none").close()
    assert threading.active_count() == threads
    assert list(tmp_path.iterdir()) == []


def test_processes_lose_no_update_of_each_other(sqlite_url: str) -> None:
    query = text("SELECT offset_seconds FROM clocks")
    with Database(sqlite_url) as database:
        database.write(put("counter"))
        command = [sys.executable, "-c", COUNT, sqlite_url]
        processes = [subprocess.Popen(command) for _ in range(3)]
        assert [process.wait() for process in processes] == [0] * 3
        assert database.read(lambda c: c.execute(query).scalar_one()) == 300


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with Database("postgresql://nobody@127.0.0.1:1/none") as database:
        for call in (database.read, database.write):
            with pytest.raises(DatabaseUnavailable):
                call(put("a"))
        with pytest.raises(DatabaseUnavailable):
            database.migrate()


def test_a_missing_file_is_unavailable(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path}/no/folder/x.db") as database:
        for call in (database.read, database.write):
            with pytest.raises(DatabaseUnavailable):
                call(put("a"))


END_OTHERS = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def test_connections_that_the_server_ended_are_replaced(postgres_url: str) -> None:
    with Database(postgres_url) as database, Database(postgres_url) as other:
        database.write(put("a"))
        names(database)
        other.write(lambda c: c.execute(END_OTHERS) and None)
        database.write(put("b"))
        assert names(database) == ["a", "b"]


def test_a_transaction_that_the_server_ended_is_tried_once_more(postgres_url: str) -> None:
    tries = []

    def ended(connection: Connection) -> None:
        put(f"try-{len(tries)}")(connection)
        tries.append(1)
        if len(tries) == 1:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with Database(postgres_url) as database:
        database.write(ended)
        assert names(database) == ["try-1"]


def test_a_transaction_that_the_server_always_ends_is_unavailable(postgres_url: str) -> None:
    end = text("SELECT pg_terminate_backend(pg_backend_pid())")
    with Database(postgres_url) as database, pytest.raises(DatabaseUnavailable):
        database.write(lambda c: c.execute(end) and None)


def test_a_server_that_became_a_standby_is_unavailable(postgres_url: str) -> None:
    standby = text("SET TRANSACTION READ ONLY")
    with Database(postgres_url) as database, pytest.raises(DatabaseUnavailable):
        database.write(lambda c: (c.execute(standby), put("a")(c)))
