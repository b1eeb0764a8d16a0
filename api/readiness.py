"""Whether a run would be accepted now, asked of everything that has a say in it."""

import asyncio

from api.admission import Admission
from api.recent import Recent
from core import clock, workers
from core.database import Database
from core.errors import DatabaseUnavailable
from core.queue import Hints
from core.settings import Settings
from core.workers import Worker

PATIENCE_SECONDS = 5.0  # a probe must hear something before it gives up by itself


class Readiness:
    """What the readiness probe asks; probes together ask no more often than once a second."""

    def __init__(
        self, settings: Settings, database: Database, hints: Hints, admission: Admission
    ) -> None:
        self._settings = settings
        self._database = database
        self._admission = admission
        self._writeable = Recent(self._write)
        self._broker = Recent(lambda: asyncio.to_thread(hints.depth, "cpu"))

    async def require(self) -> None:
        """Refuse while a run would be refused: the records must be writeable, the disk free.

        Raises:
            DatabaseUnavailable, DiskLow: a run would get the same answer.
        """
        await self._writeable.get()
        await self._admission.require_disk()

    async def has_broker(self) -> bool:
        """Whether hints reach workers; without it accepted runs wait for the reconciler."""
        try:
            return await asyncio.wait_for(self._broker.get(), PATIENCE_SECONDS) is not None
        except TimeoutError:
            return False

    async def alive(self) -> list[Worker]:
        """The workers that said lately that they live."""
        within = self._settings.alive_seconds
        return await self._database.aread(lambda c: workers.alive(c, within))

    async def _write(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._database.awrite(clock.now, durable=False)
        except TimeoutError:
            raise DatabaseUnavailable() from None
