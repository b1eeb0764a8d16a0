"""A long request under an Idempotency-Key: the key is taken first, and settled at the end."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy import Connection

from core import idempotency
from core.database import Database
from core.idempotency import Idempotency

T = TypeVar("T")


async def once(
    database: Database,
    asked: Idempotency | None,
    get: Callable[[Connection, str], T],
    take: Callable[[], Awaitable[T]],
) -> tuple[T, bool]:
    """What `take` makes and settles, or what an earlier request with the same key has made.

    Args:
        get: reads what was made, by its id.

    Returns:
        The resource, and whether it is an earlier one. Whatever `take` raises frees the key.

    Raises:
        IdempotencyMismatch, IdempotencyInFlight: see `core.idempotency`.
    """
    if asked is None:
        return await take(), False
    earlier = await database.awrite(lambda c: idempotency.reserve(c, asked, None))
    if earlier is not None:
        return await database.aread(lambda c: get(c, earlier)), True
    try:
        return await take(), False
    except BaseException:
        await database.awrite(lambda c: idempotency.give_up(c, asked))
        raise
