"""The two clocks of the records: one for people, one for leases. Both are seconds.

On PostgreSQL both are the server's, since hosts disagree. On SQLite every process is on one
machine: leases follow its monotonic clock, which nobody can set. An offset, agreed on once
per boot and kept in the database, lets that clock go on after a boot.
"""

import time
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, bindparam, insert, select, text

from core.tables import clocks

_SERVER_NOW = text("SELECT extract(epoch FROM clock_timestamp())::float8")
_OFFSET = select(clocks.c.offset_seconds).where(clocks.c.boot == bindparam("boot"))
READ_ONLY = "read_only"  # noted by core.database on connections that cannot write
_CACHED = "lease_clock_offset"  # in the driver connection's own notes


def now(connection: Connection) -> float:
    """Seconds since 1970, for what people read."""
    if connection.dialect.name == "sqlite":
        return time.time()
    return float(connection.execute(_SERVER_NOW).scalar_one())


def lease_now(connection: Connection) -> float:
    """Seconds on the clock of leases and heartbeats; compare it with nothing else."""
    if connection.dialect.name != "sqlite":
        return now(connection)
    offset = connection.info.get(_CACHED)
    if offset is None:
        offset = connection.execute(_OFFSET, {"boot": _boot()}).scalar()
        if offset is None:
            return time.monotonic() + _first_offset(connection)
        connection.info[_CACHED] = offset
    return time.monotonic() + float(offset)


def _first_offset(connection: Connection) -> float:
    """Agree on an offset; not cached, for its transaction may yet be undone."""
    offset = time.time() - time.monotonic()
    if READ_ONLY not in connection.info:  # a reader sees no lease of this boot before a writer
        connection.execute(insert(clocks).values(boot=_boot(), offset_seconds=offset))
    return offset


@cache
def _boot() -> str:
    """What tells this boot of the machine from others; one name where the kernel has none."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.exists() else "any"
