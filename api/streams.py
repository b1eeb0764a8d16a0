"""A run's events as Server-Sent Events: replayed from any number, then followed to the last."""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial

from sqlalchemy import Connection

from api import resources
from api.problems import Refusal
from core import events, runs
from core.database import Database
from core.errors import DatabaseUnavailable, RunNotFound
from core.events import Event

MEDIA_TYPE = "text/event-stream"
SCHEMA = {  # of one event, for the description of the API
    "type": "object",
    "required": ["id", "data"],
    "properties": {
        "id": {"type": "string", "description": "The event's seq."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/EventResource"},
        },
    },
}
POLL_SECONDS = 0.25
KEEP_ALIVE_SECONDS = 10.0
BATCH = 200


class Streams:
    """The open event streams of this process, in number bounded and ended at shutdown."""

    def __init__(self, database: Database, limit: int, stopping: asyncio.Event) -> None:
        self._database = database
        self._limit = limit
        self._stopping = stopping
        self._open = 0

    def require_room(self) -> None:
        """Refuse one stream too many.

        Raises:
            Refusal: 503.
        """
        if self._open >= self._limit:
            detail = f"{self._limit} event streams are open already."
            raise Refusal(503, "TOO_MANY_STREAMS", detail, {"Retry-After": "5"}, limit=self._limit)

    async def follow(self, run_id: str, seq: int) -> AsyncIterator[bytes]:
        """Every event after `seq`, ending with the terminal one.

        It ends early, to be taken up again by Last-Event-ID, when the server stops or the
        database does not answer.
        """
        self._open += 1
        try:
            async for text in self._texts(run_id, seq):
                yield text
        except (RunNotFound, DatabaseUnavailable):
            return
        finally:
            self._open -= 1

    async def _texts(self, run_id: str, seq: int) -> AsyncIterator[bytes]:
        yield b": the events of a run\n\n"
        sent_at = time.monotonic()
        while not self._stopping.is_set():
            found, ended = await self._database.aread(partial(_after, run_id=run_id, seq=seq))
            for event in found:
                yield render(event)
                seq, sent_at = event.seq, time.monotonic()
            if ended and len(found) < BATCH:
                return
            if time.monotonic() - sent_at > KEEP_ALIVE_SECONDS:
                yield b": still there\n\n"
                sent_at = time.monotonic()
            if not found:
                await self._pause()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), POLL_SECONDS)
        except TimeoutError:
            return


def _after(connection: Connection, run_id: str, seq: int) -> tuple[list[Event], bool]:
    """The next events, and whether the run had ended when they were read."""
    ended = runs.get(connection, run_id).ended
    return events.after(connection, run_id, seq, BATCH), ended


def render(event: Event) -> bytes:
    """One event in the text format of Server-Sent Events."""
    return f"id: {event.seq}\ndata: {resources.event(event).model_dump_json()}\n\n".encode()
