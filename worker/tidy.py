"""Removes files that no record names: replaced resume points, work of dead epochs, rows that
came with a request whose operation has ended, and reports that did not come to count.
"""

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection

from core import checkpoints, experiments, logs, operations, revisions
from core.errors import EvalmodeError
from worker.services import Services

KEEP_SECONDS = 3600.0  # a younger file may be about to be named

#: Folders beside the runs' own: of revisions, of imports, of rows.
ELSEWHERE = (revisions.FOLDER, checkpoints.IMPORTS, revisions.ROWS)

log = logs.get(__name__)


def delete_files(services: Services, keys: Iterable[str]) -> None:
    """Delete files that no record names any more; what fails is left for the sweep."""
    try:
        for key in keys:
            services.files.delete(key)
    except EvalmodeError as error:
        log.warning("files are left for the next sweep", error=str(error))


def delete_unnamed(services: Services, run_id: str) -> None:
    """Delete every file of a run that its records do not name; nobody writes to it any more."""
    try:
        found = {file.key for file in services.files.list(f"runs/{run_id}")}
        named = _named(services, run_id)
    except EvalmodeError as error:
        log.warning("files are left for the next sweep", error=str(error))
    else:
        delete_files(services, found - named)


def sweep(services: Services) -> None:
    """Delete what crashes have left: old files that no record names, old scratch files."""
    services.files.sweep(24 * KEEP_SECONDS)
    by_run: dict[str, set[str]] = {}
    for key in _old(services, "runs"):
        by_run.setdefault(key.split("/")[1], set()).add(key)
    for run_id, keys in by_run.items():
        delete_files(services, keys - _named(services, run_id))
    reports = list(_old(services, experiments.FOLDER))
    if reports:
        kept = services.database.read(lambda c: experiments.named(c, reports))
        delete_files(services, set(reports) - kept)
    elsewhere = {key for folder in ELSEWHERE for key in _old(services, folder)}
    if elsewhere:
        named = services.database.read(lambda c: _named_elsewhere(c, elsewhere))
        delete_files(services, elsewhere - named)


def _old(services: Services, folder: str) -> Iterator[str]:
    for file in services.files.list(folder):
        if file.age_seconds > KEEP_SECONDS:
            yield file.key


def _named_elsewhere(c: Connection, keys: set[str]) -> frozenset[str]:
    return checkpoints.named(c, keys) | operations.rows_keys(c)


def _named(services: Services, run_id: str) -> frozenset[str]:
    return services.database.read(lambda c: checkpoints.keys(c, run_id))
