"""Threads that act on the records at one instant, each with connections of its own."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from core.database import Database
from core.errors import EvalmodeError

Act = Callable[[Database], Any]


class Race:
    """Threads that start each round together."""

    def __init__(self, actors: Sequence[Database], threads: ThreadPoolExecutor) -> None:
        self._actors, self._threads = actors, threads

    def run(self, acts: Sequence[Act]) -> list[Any]:
        """What each act returned, or the refusal it met."""
        barrier = threading.Barrier(len(acts))

        def act(one: Act, database: Database) -> Any:
            barrier.wait(20)
            try:
                return one(database)
            except EvalmodeError as refusal:
                return refusal

        pairs = zip(acts, self._actors, strict=False)
        futures = [self._threads.submit(act, one, database) for one, database in pairs]
        return [future.result(60) for future in futures]


def write(call: Callable[..., Any], *values: Any) -> Act:
    """An act that calls `call` with a connection and these values, in a transaction."""
    return lambda d: d.write(lambda c: call(c, *values), durable=False)
