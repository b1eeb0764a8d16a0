"""Answers that may be a second old: asked for once, however many want them at the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

REMEMBER_SECONDS = 1.0

T = TypeVar("T")


class Recent(Generic[T]):
    """An answer that is asked for again only when it is older than a second."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._answer: tuple[float, T] | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> T:
        """The answer, at most about a second old."""
        async with self._lock:
            if self._answer is None or time.monotonic() - self._answer[0] > REMEMBER_SECONDS:
                self._answer = (time.monotonic(), await self._ask())
            return self._answer[1]
