"""Submitting operations: what every kind of them is checked for, and the one transaction."""

from sqlalchemy import Connection

from api.services import Services
from core import idempotency, operations, revisions
from core.checkpoints import Checkpoint
from core.errors import RevisionNameTaken, RevisionNotFound
from core.idempotency import Idempotency
from core.operations import NewOperation, Submitted


async def repeated(services: Services, asked: Idempotency | None) -> Submitted | None:
    """The operation that an earlier request with this key made.

    It is asked for before anything is checked: what the earlier request has made since may be
    just what a check would refuse, such as a revision of its name.

    Raises:
        IdempotencyMismatch, IdempotencyInFlight: see `core.idempotency`.
    """

    def read(connection: Connection) -> Submitted | None:
        earlier = None if asked is None else idempotency.made(connection, asked)
        if earlier is None:
            return None
        return Submitted(operations.get(connection, earlier), replayed=True)

    return await services.database.aread(read)


async def submit(services: Services, new: NewOperation, asked: Idempotency | None) -> Submitted:
    """Queue an operation; it is committed when this returns.

    Raises:
        CheckpointNotFound, DatasetNotFound: what it needs has been deleted meanwhile.
        QueueFull, DatabaseUnavailable: not now.
        IdempotencyMismatch, IdempotencyInFlight: see `core.idempotency`.
    """
    limit = services.settings.queue_limit
    submitted = await services.database.awrite(lambda c: operations.submit(c, new, limit, asked))
    if not submitted.replayed:
        services.hints.send(await services.admission.queue_of(new.device))
    return submitted


async def refuse_taken(services: Services, record: Checkpoint, name: str | None) -> None:
    """Refuse the name of a revision that is there; the worker decides in the end.

    Raises:
        RevisionNameTaken: another revision of the same weights has it.
    """
    if name is None:
        return
    try:
        taken = await services.database.aread(lambda c: revisions.named(c, record.id, name))
    except RevisionNotFound:
        return
    raise RevisionNameTaken(taken.id)
