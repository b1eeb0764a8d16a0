import subprocess
import sys
import time
from typing import Any

import pytest

from core import claims, clock
from core.database import Database

PRINT = """
import sys
from core.clock import lease_now
from core.database import Database

with Database(sys.argv[1]) as database:
    print(database.read(lease_now))
"""


def test_the_clock_for_people_is_that_of_the_wall(database: Database) -> None:
    assert database.read(clock.now) == pytest.approx(time.time(), abs=5)


def test_the_lease_clock_goes_on_evenly(database: Database) -> None:
    first = database.write(clock.lease_now)
    time.sleep(0.1)
    for call in (database.read, database.write, database.read):
        assert 0.1 <= call(clock.lease_now) - first < 2


def test_processes_share_the_lease_clock(database: Database, request: Any) -> None:
    name = "sqlite_url" if database.is_sqlite else "postgres_url"
    before = database.write(clock.lease_now)
    command = [sys.executable, "-c", PRINT, request.getfixturevalue(name)]
    told = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert before < told < database.read(clock.lease_now)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_wall_clock_that_jumps_ends_no_lease_and_prolongs_none(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    with Database(sqlite_url) as database:
        before = database.write(clock.lease_now)
        real = time.time
        monkeypatch.setattr(clock.time, "time", lambda: real() + jump)
        assert 0 <= database.read(clock.lease_now) - before < 5
        assert database.read(lambda c: claims.expired(c, 0)) == []
    with Database(sqlite_url) as another:
        assert 0 <= another.write(clock.lease_now) - before < 5
