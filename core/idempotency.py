"""What makes a repeated POST harmless: a key, the hash of its body, and what it made.

The entry is written in the transaction that makes the resource, so the database decides a
race. A long request (an upload) reserves its key first and settles it at the end.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, or_, select, text, update
from sqlalchemy.sql.elements import ColumnElement

from core.clock import now
from core.errors import IdempotencyInFlight, IdempotencyMismatch
from core.tables import idempotency

KEPT_SECONDS = 24 * 3600.0
IN_FLIGHT_SECONDS = 15 * 60.0  # then its process is taken for dead

_INSERT = text(
    "INSERT INTO idempotency (scope, key, body_hash, resource_id, created_at)"
    " VALUES (:scope, :key, :body_hash, :resource_id, :created_at)"
    " ON CONFLICT (scope, key) DO NOTHING"
)


@dataclass(frozen=True)
class Idempotency:
    """The client's key for one request."""

    scope: str  # what it may repeat: "POST /v1/runs"
    key: str  # as the client sent it; 1 to 255 characters
    body_hash: str  # of the canonical body: sha256 in hex


def reserve(connection: Connection, asked: Idempotency, resource_id: str | None) -> str | None:
    """Take the key for this request, or say what the earlier request with it made.

    Args:
        resource_id: what this transaction makes; None keeps the key in flight until `settle`.

    Returns:
        None where the key is now taken, else the id of the earlier resource: replay it.

    Raises:
        IdempotencyMismatch: the key was used with another body.
        IdempotencyInFlight: the earlier request has not ended.
    """
    at = now(connection)
    connection.execute(delete(idempotency).where(_is(asked), _expired(at)))
    row = {"scope": asked.scope, "key": asked.key, "body_hash": asked.body_hash}
    new = connection.execute(_INSERT, row | {"resource_id": resource_id, "created_at": at})
    if new.rowcount == 1:
        return None
    return _made(connection, asked, _is(asked))


def made(connection: Connection, asked: Idempotency) -> str | None:
    """What the earlier request with this key made; None where there was none. Takes nothing.

    Raises:
        IdempotencyMismatch, IdempotencyInFlight: see `reserve`.
    """
    return _made(connection, asked, _is(asked) & ~_expired(now(connection)))


def _made(connection: Connection, asked: Idempotency, entry: ColumnElement[bool]) -> str | None:
    columns = select(idempotency.c.body_hash, idempotency.c.resource_id)
    earlier = connection.execute(columns.where(entry)).one_or_none()
    if earlier is None:
        return None
    if earlier.body_hash != asked.body_hash:
        raise IdempotencyMismatch()
    if earlier.resource_id is None:
        raise IdempotencyInFlight()
    return str(earlier.resource_id)


def settle(connection: Connection, asked: Idempotency, resource_id: str) -> None:
    """Say what a reserved key has made, from now on to be replayed."""
    connection.execute(update(idempotency).where(_is(asked)).values(resource_id=resource_id))


def give_up(connection: Connection, asked: Idempotency) -> None:
    """Free a reserved key whose request has failed, so that it may be tried again."""
    connection.execute(delete(idempotency).where(_is(asked), idempotency.c.resource_id.is_(None)))


def forget(connection: Connection, resource_id: str) -> None:
    """Free the keys of a resource that is deleted: there is nothing left to replay."""
    connection.execute(delete(idempotency).where(idempotency.c.resource_id == resource_id))


def purge(connection: Connection) -> int:
    """Delete every expired entry and return how many there were."""
    return connection.execute(delete(idempotency).where(_expired(now(connection)))).rowcount


def _is(asked: Idempotency) -> ColumnElement[bool]:
    return (idempotency.c.scope == asked.scope) & (idempotency.c.key == asked.key)


def _expired(at: float) -> ColumnElement[bool]:
    in_flight = idempotency.c.resource_id.is_(None)
    return or_(
        idempotency.c.created_at < at - KEPT_SECONDS,
        in_flight & (idempotency.c.created_at < at - IN_FLIGHT_SECONDS),
    )
