"""Revisions: one set of weights with several sets of running statistics.

A revision is a checkpoint of its own id. It shares the weights' file (`key`) with its original,
and has one small file of its own with the statistics alone (`statistics_key`). The two together
are the file that its `sha256` and `bytes` are of. The original is the one without a name.

It belongs to its original and to nobody else: a revision of a revision is another one of the same
original, and run, step and spec are the original's. So no checkpoint ever needs the weights of
another run, and whoever deletes an original deletes its revisions, files included. A revision
that took its statistics from elsewhere has a copy of them, and says so in `made_by`.

Statistics lie outside the folder of the run, since a worker that ends a run deletes what no
record names there, which a file that is about to be named would be.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select
from sqlalchemy import delete as sql_delete

from core import checkpoints, idempotency, uses
from core.checkpoints import Checkpoint, from_row
from core.clock import now
from core.errors import CheckpointOfRun, RevisionNameTaken, RevisionNotFound
from core.ids import checked_name, is_name, new_id
from core.tables import checkpoints as table

FOLDER = "revisions"  # of the store; an operation's files lie below its id
ROWS = "rows"  # of the store; rows that came with the request for an operation


@dataclass(frozen=True)
class NewRevision:
    """Statistics in the store that have been put on the original's weights and scored."""

    statistics_key: str  # of the safetensors file with the statistics alone
    sha256: str  # of the bytes of weights and statistics in one file, in hex
    bytes: int  # of that file
    fingerprint: str  # of the running statistics
    weights_hash: str  # of everything but the statistics; the original's
    metrics: dict[str, Any]  # scored in eval mode with these statistics
    made_by: dict[str, Any]  # method, rows fingerprint, seed, dataset …; JSON-ready
    findings: list[dict[str, Any]] | None = None  # about these statistics
    history: dict[str, Any] | None = None  # as `NewCheckpoint` has it; no point of a run's history
    name: str | None = None  # None: the next free one of r1, r2, …


def statistics_key(operation_id: str, epoch: int) -> str:
    """Where the owner of an operation puts the statistics that it makes.

    The epoch keeps an owner that was given up from writing over its successor's file.
    """
    return f"{FOLDER}/{operation_id}/e{epoch}.safetensors"


def rows_key() -> str:
    """A new key for rows that come with a request; they go when their operation has ended."""
    return f"{ROWS}/{uuid.uuid4().hex}.npy"


def insert_one(
    connection: Connection,
    checkpoint_id: str,
    new: NewRevision,
    operation_id: str | None = None,
    epoch: int = 0,
) -> Checkpoint:
    """Record a revision; the one that is there where the operation has made one already.

    Args:
        checkpoint_id: the original, or a revision of it.
        operation_id: what made it. Finish it in the same transaction.
        epoch: of the operation's claim.

    Raises:
        CheckpointNotFound: it has been deleted meanwhile.
        RevisionNameTaken: another revision has the name.
        ValueError: the weights are not the original's, or the name is none.
    """
    held = uses.hold_checkpoint(connection, checkpoint_id, alone=True)
    original = checkpoints.get(connection, held)
    made = None if operation_id is None else made_in(connection, operation_id)
    if made is not None:
        return made
    if new.weights_hash != original.weights_hash:
        raise ValueError("a revision has the weights of its original")
    name = _free_name(connection, original.id, new.name)
    new_revision = new_id("ckpt")
    row: dict[str, Any] = {"id": new_revision, "revision_of": original.id}
    row |= {field: getattr(original, field) for field in ("run_id", "step", "spec", "key")}
    row |= vars(new) | {"name": name, "norm_layers": original.norm_layers}
    row |= {"operation_id": operation_id, "epoch": epoch, "created_at": now(connection)}
    connection.execute(insert(table), row)
    return checkpoints.get(connection, new_revision)


def made_in(connection: Connection, operation_id: str) -> Checkpoint | None:
    """The revision that an operation has made; None where it has made none."""
    row = connection.execute(select(table).where(table.c.operation_id == operation_id)).first()
    return None if row is None else from_row(row)


def named(connection: Connection, checkpoint_id: str, name: str) -> Checkpoint:
    """The revision of this name among those of a checkpoint.

    Args:
        checkpoint_id: the original, or any revision of it.

    Raises:
        CheckpointNotFound: there is no such checkpoint.
        RevisionNotFound: it has no revision of this name.
    """
    found = checkpoints.get(connection, checkpoint_id)
    revision = _named(connection, found.revision_of or found.id, name)
    if revision is None:
        raise RevisionNotFound()
    return revision


def page(
    connection: Connection, checkpoint_id: str, limit: int = 20, after: str | None = None
) -> checkpoints.Page:
    """One page of the revisions of a checkpoint, newest first; the original is none of them.

    Args:
        checkpoint_id: the original, or any revision of it.
        limit: 1 to 100.
        after: id of the last one of the page before.

    Raises:
        CheckpointNotFound: there is no such checkpoint.
        BadCursor: `after` is no revision of it.
    """
    found = checkpoints.get(connection, checkpoint_id)
    original = found.revision_of or found.id
    return checkpoints.page(connection, limit=limit, after=after, revision_of=original)


def delete(connection: Connection, checkpoint_id: str) -> frozenset[str]:
    """Delete a revision, or a checkpoint that was trained elsewhere with all its revisions.

    Returns:
        The keys that no record names any more: delete those files after the commit.

    Raises:
        CheckpointNotFound: there is no such checkpoint.
        CheckpointOfRun: a run trained it; delete the run.
        CheckpointInUse: a model serves it, or an operation works on it.
    """
    uses.hold_checkpoint(connection, checkpoint_id, alone=True)
    found = checkpoints.get(connection, checkpoint_id)
    if found.revision_of is None and found.run_id is not None:
        raise CheckpointOfRun(found.run_id)
    uses.let_go_of_checkpoint(connection, checkpoint_id)
    idempotency.forget(connection, checkpoint_id)
    its = or_(table.c.id == checkpoint_id, table.c.revision_of == checkpoint_id)
    files = connection.execute(select(table.c.key, table.c.statistics_key).where(its)).all()
    connection.execute(sql_delete(table).where(its))
    gone = {key for row in files for key in row if key is not None}
    return frozenset(gone - ({found.key} if found.revision_of else set()))


def _free_name(connection: Connection, original: str, wanted: str | None) -> str:
    if wanted is None:
        return _next_name(connection, original)
    taken = _named(connection, original, checked_name(wanted))
    if taken is not None:
        raise RevisionNameTaken(taken.id)
    return wanted


def _next_name(connection: Connection, original: str) -> str:
    count = select(func.count()).where(table.c.revision_of == original)
    number = connection.execute(count).scalar_one() + 1
    while _named(connection, original, f"r{number}") is not None:
        number += 1
    return f"r{number}"


def _named(connection: Connection, original: str, name: str) -> Checkpoint | None:
    if not is_name(name):
        return None
    query = select(table).where(table.c.revision_of == original, table.c.name == name)
    row = connection.execute(query).one_or_none()
    return None if row is None else from_row(row)
