"""Records of checkpoints: which file, which statistics, which scores. It opens no file.

Points saved only to resume from are no checkpoints: they are in the run's row alone, so that
a fault never changes what is listed or served.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select

from core.clock import now
from core.errors import BadCursor, CheckpointNotFound
from core.ids import is_id, new_id
from core.states import ENDED
from core.tables import checkpoints, runs

MAX_PAGE = 100
MOST_KEYS = 500  # in one query
IMPORTS = "imports"  # folder of the store for what was trained elsewhere


@dataclass(frozen=True)
class NewCheckpoint:
    """A file in the store that has been loaded again and scored."""

    step: int  # optimizer steps done
    key: str  # of the safetensors file
    sha256: str  # of its bytes, in hex
    bytes: int
    fingerprint: str  # of the running statistics
    norm_layers: int  # how many layers have some
    weights_hash: str  # of everything but the statistics
    metrics: dict[str, Any]  # scored in eval mode from the loaded file; null where not finite
    findings: list[dict[str, Any]] | None = None  # about its statistics; None: nobody looked
    history: dict[str, Any] | None = None  # running, batch and population statistics in brief


@dataclass(frozen=True)
class Origin:
    """Where a checkpoint comes from; revisions are made by `core.revisions`."""

    spec: dict[str, Any]
    run_id: str | None = None  # null: trained elsewhere
    epoch: int = 0  # of the claim that wrote it
    made_by: dict[str, Any] | None = None  # what an import did to the tensors


@dataclass(frozen=True)
class Checkpoint:
    """Weights with their running statistics, as recorded."""

    id: str
    run_id: str | None
    step: int
    epoch: int
    key: str
    sha256: str
    bytes: int
    fingerprint: str
    norm_layers: int
    weights_hash: str
    metrics: dict[str, Any]
    spec: dict[str, Any]
    findings: list[dict[str, Any]] | None  # of the save gate; None: nobody looked
    history: dict[str, Any] | None  # running, batch and population statistics in brief
    revision_of: str | None  # the original, whose weights and `key` these are
    name: str | None  # of a revision, among those of its original
    statistics_key: str | None  # of the file with a revision's statistics alone
    made_by: dict[str, Any] | None  # method, rows, seed of a revision; report of an import
    operation_id: str | None  # what made it
    created_at: float


@dataclass(frozen=True)
class Page:
    """Newest first."""

    data: list[Checkpoint]
    has_more: bool


_INSERT = insert(checkpoints)
_GET = select(checkpoints).where(checkpoints.c.id == bindparam("checkpoint"))


def insert_one(connection: Connection, new: NewCheckpoint, origin: Origin) -> str:
    """Record a checkpoint and return its id. Runs add theirs by `core.claims.add_checkpoint`."""
    checkpoint_id = new_id("ckpt")
    row = vars(origin) | vars(new) | {"created_at": now(connection)}
    connection.execute(_INSERT, row | {"id": checkpoint_id})
    return checkpoint_id


def get(connection: Connection, checkpoint_id: str) -> Checkpoint:
    """The checkpoint with this id.

    Raises:
        CheckpointNotFound: there is none.
    """
    if not is_id("ckpt", checkpoint_id):
        raise CheckpointNotFound()
    row = connection.execute(_GET, {"checkpoint": checkpoint_id}).one_or_none()
    if row is None:
        raise CheckpointNotFound()
    return from_row(row)


def at_step(connection: Connection, run_id: str, step: int) -> Checkpoint | None:
    """What a run trained up to `step`, revisions aside; None where it kept nothing there."""
    trained = checkpoints.c.revision_of.is_(None)
    query = select(checkpoints).where(checkpoints.c.run_id == run_id, trained)
    row = connection.execute(query.where(checkpoints.c.step == step)).first()
    return None if row is None else from_row(row)


def page(
    connection: Connection,
    run_id: str | None = None,
    limit: int = 20,
    after: str | None = None,
    revision_of: str | None = None,
) -> Page:
    """One page of the checkpoints of a run, or of all, newest first.

    Args:
        revision_of: the original whose revisions alone are wanted.
        limit: 1 to 100.
        after: id of the last one of the page before.

    Raises:
        BadCursor: `after` is no checkpoint of this list.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"expected a limit of 1 to {MAX_PAGE}, got {limit}")
    query = select(checkpoints).order_by(checkpoints.c.id.desc()).limit(limit + 1)
    if run_id is not None:
        query = query.where(checkpoints.c.run_id == run_id)
    if revision_of is not None:
        query = query.where(checkpoints.c.revision_of == revision_of)
    if after is not None:
        query = query.where(checkpoints.c.id < _cursor(connection, run_id, revision_of, after))
    rows = connection.execute(query).all()
    return Page([from_row(row) for row in rows[:limit]], len(rows) > limit)


def keys(connection: Connection, run_id: str) -> frozenset[str]:
    """Every key that the records of a run name: its checkpoints, the statistics of their
    revisions and, until it ends, its resume point.
    """
    files = select(checkpoints.c.key, checkpoints.c.statistics_key)
    listed = connection.execute(files.where(checkpoints.c.run_id == run_id))
    saved = select(runs.c.checkpoint_key, runs.c.resume_key).where(
        runs.c.id == run_id, runs.c.state.not_in(ENDED)
    )
    rows = [*listed, *connection.execute(saved)]
    return frozenset(key for row in rows for key in row if key is not None)


def named(connection: Connection, keys: Collection[str]) -> frozenset[str]:
    """Those of some keys that a checkpoint names, as its file or as its statistics."""
    columns = (checkpoints.c.key, checkpoints.c.statistics_key)
    ordered = list(keys)
    parts = [ordered[at : at + MOST_KEYS] for at in range(0, len(ordered), MOST_KEYS)]
    queries = [select(column).where(column.in_(part)) for part in parts for column in columns]
    return frozenset(key for query in queries for (key,) in connection.execute(query))


def _cursor(connection: Connection, run_id: str | None, revision_of: str | None, after: str) -> str:
    try:
        found = get(connection, after)
    except CheckpointNotFound as error:
        raise BadCursor() from error
    if run_id is not None and found.run_id != run_id:
        raise BadCursor()
    if revision_of is not None and found.revision_of != revision_of:
        raise BadCursor()
    return found.id


def from_row(row: Row[Any]) -> Checkpoint:
    """The checkpoint of one whole row of `checkpoints`."""
    return Checkpoint(**row._mapping)
