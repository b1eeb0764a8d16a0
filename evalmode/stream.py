"""A run's events: read once, or followed as Server-Sent Events across broken connections."""

import json
from collections.abc import Generator, Mapping
from typing import Any

from evalmode.errors import NoAnswer
from evalmode.resources import Event, RunRecord
from evalmode.runs import run_path
from evalmode.steps import Answer, Emit, Emitting, Open, Read, Request, Sleep, Step, exchange, fetch

RECONNECT_SECONDS = 0.5


class EventStream:
    """Server-Sent Events out of bytes, whichever way the bytes were cut.

    Comments (the service's heartbeats) and fields other than `id` and `data` are dropped.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[str]:
        """The data of every event that this chunk completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        complete = []
        for line in lines:
            text = line.removesuffix(b"\r").decode()
            if text.startswith("data:"):
                self._data.append(text.removeprefix("data:").removeprefix(" "))
            elif not text and self._data:
                complete.append("\n".join(self._data))
                self._data = []
        return complete


def events(run: str, after: int = 0, stream: bool = False) -> Emitting[Event]:
    """A run's log, oldest first.

    Args:
        run: its id.
        after: sequence number of the last event that is already known.
        stream: follow until the run has ended, across broken connections.
    """
    return follow(run, after) if stream else past(run, after)


def past(run: str, after: int) -> Emitting[Event]:
    """Emit the events that there are, oldest first."""
    while True:
        query = {"after": str(after), "limit": "100"}
        page = yield from fetch(Request("GET", run_path(run, "events"), query), dict)
        for body in page["data"]:
            event = Event.model_validate(body)
            after = event.seq
            yield Emit(event)
        if not page["has_more"]:
            return


def follow(run: str, after: int) -> Emitting[Event]:
    """Emit events as they happen, oldest first, until the run has ended.

    A connection that breaks is taken up again after the last event that came, so none is
    missing and none comes twice.
    """
    last = after
    while True:
        before = last
        last = yield from _one_connection(run, last)
        if last == before:
            # An end that brought nothing: the run is over, or the service is restarting.
            body = yield from fetch(Request("GET", run_path(run)), dict)
            if RunRecord.model_validate(body).is_ended:
                return
            yield Sleep(RECONNECT_SECONDS)


def _one_connection(run: str, last: int) -> Generator[Step | Emit[Event], Any, int]:
    """Emit what one connection brings; the sequence number of the last event is returned."""
    headers: Mapping[str, str] = {"accept": "text/event-stream", "last-event-id": str(last)}
    request = Request("GET", run_path(run, "events/stream"), headers=headers)
    answer: Answer = yield from exchange(request, Open)
    assert answer.status < 400, "exchange raises for every other status"
    stream = EventStream()
    try:
        while chunk := (yield Read()):
            for text in stream.feed(chunk):
                event = _event(text)
                if event.seq > last:
                    last = event.seq
                    yield Emit(event)
    except NoAnswer:
        pass  # the caller connects again
    return last


def _event(text: str) -> Event:
    body: Any = json.loads(text)
    return Event.model_validate(body)
