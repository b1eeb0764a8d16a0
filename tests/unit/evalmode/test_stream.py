import json
from typing import Any

import pytest

from evalmode import stream
from evalmode.errors import NoAnswer
from evalmode.stream import EventStream


def event(seq: int, kind: str = "note") -> dict[str, Any]:
    at = "2026-01-01T00:00:00Z"
    return {"seq": seq, "at": at, "level": "info", "type": kind, "message": "", "data": {}}


def sent(*seqs: int) -> bytes:
    return b"".join(b"id: %d\ndata: %s\n\n" % (s, json.dumps(event(s)).encode()) for s in seqs)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_whole_however_the_bytes_are_cut(size: int) -> None:
    raw = b": hello\r\nid: 1\r\nevent: x\r\ndata: [1,\r\ndata: 2]\r\n\r\n: beat\n\ndata:2\n\n"
    source = EventStream()
    chunks = [raw[start : start + size] for start in range(0, len(raw), size)]
    assert [text for chunk in chunks for text in source.feed(chunk)] == ["[1,\n2]", "2"]


def test_following_goes_on_after_the_last_event_when_the_connection_breaks(
    play: Any, answer: Any, make_run: Any
) -> None:
    played = play(
        stream.events("run_1", stream=True),
        answer(),
        sent(1, 2) + b"data: {",
        NoAnswer("reset"),
        answer(),
        sent(2, 3),
        b"",
        answer(),
        b"",
        answer(make_run("succeeded")),
    )
    assert [one.seq for one in played.emitted] == [1, 2, 3]
    opened = [r.headers["last-event-id"] for r in played.requests if "last-event-id" in r.headers]
    assert opened == ["0", "2", "3"]


def test_following_waits_for_a_service_that_restarts(play: Any, answer: Any, make_run: Any) -> None:
    played = play(
        stream.events("run_1", after=4, stream=True),
        *[answer(), b"", answer(make_run("running"))],
        *[answer(), sent(5), b""],
        *[answer(), b"", answer(make_run("succeeded"))],
    )
    assert [one.seq for one in played.emitted] == [5]


def test_the_log_is_read_to_its_end(play: Any, answer: Any) -> None:
    pages = [
        answer({"data": [event(1), event(2)], "has_more": True}),
        answer({"data": [event(3)], "has_more": False}),
    ]
    played = play(stream.events("run_1"), *pages)
    assert [one.seq for one in played.emitted] == [1, 2, 3]
    assert [request.query["after"] for request in played.requests] == ["0", "2"]
