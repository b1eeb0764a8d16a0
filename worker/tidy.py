"""Removes files of runs that no record names: replaced resume points, work of dead epochs."""

from collections.abc import Iterable

from core import checkpoints, logs
from core.errors import EvalmodeError
from worker.services import Services

KEEP_SECONDS = 3600.0  # a younger file may be about to be named

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
    old: dict[str, set[str]] = {}
    for file in services.files.list("runs"):
        if file.age_seconds > KEEP_SECONDS:
            old.setdefault(file.key.split("/")[1], set()).add(file.key)
    for run_id, keys in old.items():
        delete_files(services, keys - _named(services, run_id))


def _named(services: Services, run_id: str) -> frozenset[str]:
    return services.database.read(lambda c: checkpoints.keys(c, run_id))
