"""Figures, drawn one at a time: each takes a processor for a second or two."""

import asyncio
from collections.abc import Mapping
from typing import Any

from model.figures.history import history_svg

MEDIA_TYPE = "image/svg+xml"


class Figures:
    """Draws in a thread, so that the event loop stays free for everyone else."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)

    async def history(self, history: Mapping[str, Any]) -> bytes:
        """The history of running statistics as an SVG file; see `model.figures.history`."""
        async with self._turn:
            return await asyncio.to_thread(history_svg, history)
