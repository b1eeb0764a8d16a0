"""The log of a run: paged, streamed, replayed, and ended with its terminal event."""

import json
import threading
import time
from typing import Any

import httpx
import pytest

from core import claims
from core.events import NewEvent, append
from core.settings import Settings
from core.states import Outcome


def parsed(text: str) -> list[tuple[int, dict[str, Any]]]:
    """Number and data of every event in a stream's text."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if fields:
            found.append((int(fields["id"]), json.loads(fields["data"])))
    return found


def streamed(client: httpx.Client, run_id: str, **headers: str) -> list[tuple[int, dict[str, Any]]]:
    with client.stream("GET", f"/v1/runs/{run_id}/events/stream", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return parsed(answer.read().decode())


def test_the_log_is_typed_and_paged(client: httpx.Client, trained: dict[str, Any]) -> None:
    first = client.get(f"/v1/runs/{trained['id']}/events", params={"limit": 2}).json()
    rest = client.get(f"/v1/runs/{trained['id']}/events", params={"after": first["last_id"]}).json()
    log = first["data"] + rest["data"]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert [event["seq"] for event in log] == [1, 2, 3, 4]
    assert [event["type"] for event in log] == ["queued", "started", "checkpoint", "succeeded"]
    assert all(set(event) == {"seq", "at", "level", "type", "message", "data"} for event in log)


def test_a_stream_replays_the_whole_log_and_ends(
    client: httpx.Client, trained: dict[str, Any]
) -> None:
    events = streamed(client, trained["id"])
    log = client.get(f"/v1/runs/{trained['id']}/events").json()["data"]
    assert events == [(event["seq"], event) for event in log]


@pytest.mark.parametrize(
    ("seen", "numbers"), [("0", [1, 2, 3, 4]), ("2", [3, 4]), ("4", []), ("99", [])]
)
def test_a_stream_goes_on_after_the_last_event_that_was_seen(
    client: httpx.Client, trained: dict[str, Any], seen: str, numbers: list[int]
) -> None:
    events = streamed(client, trained["id"], **{"Last-Event-ID": seen})
    assert [seq for seq, _ in events] == numbers


def test_a_stream_follows_a_run_to_its_terminal_event(client: httpx.Client, service: Any) -> None:
    run_id = service.submit()["id"]
    found: list[tuple[int, dict[str, Any]]] = []
    reader = threading.Thread(target=lambda: found.extend(streamed(client, run_id)))
    reader.start()
    epoch = service.claim(run_id)
    for number in range(300):
        event = NewEvent("note", f"number {number}")
        service.database.write(lambda c, event=event: append(c, run_id, event), durable=False)
    service.database.write(lambda c: claims.finish(c, run_id, epoch, Outcome.DIVERGED))
    reader.join(10)
    assert not reader.is_alive()
    assert [seq for seq, _ in found] == list(range(1, 304))
    assert [found[0][1]["type"], found[-1][1]["type"]] == ["queued", "succeeded"]


def test_a_stream_of_a_deleted_run_ends(client: httpx.Client, service: Any) -> None:
    run_id = service.submit()["id"]
    with client.stream("GET", f"/v1/runs/{run_id}/events/stream") as answer:
        texts = answer.iter_text()
        next(texts)
        httpx.post(f"{service.url}/v1/runs/{run_id}/cancel")
        httpx.delete(f"{service.url}/v1/runs/{run_id}")
        started = time.monotonic()
        for _ in texts:
            pass
        assert time.monotonic() - started < 5


def test_streams_are_bounded_in_number(serve: Any, shared_redis: Any, tmp_path: Any) -> None:
    settings = Settings(data=tmp_path, port=0, broker_url=shared_redis.url, streams=2)
    with serve(settings) as service:
        path = f"{service.url}/v1/runs/{service.submit()['id']}/events/stream"
        with httpx.Client() as client:
            with client.stream("GET", path) as first, client.stream("GET", path) as second:
                texts = first.iter_text(), second.iter_text()
                assert all(next(text) for text in texts)
                third = client.get(path)
                assert (third.status_code, third.json()["reason"]) == (503, "TOO_MANY_STREAMS")
                assert int(third.headers["retry-after"]) > 0
            deadline = time.monotonic() + 5
            while True:
                with client.stream("GET", path) as answer:
                    if answer.status_code == 200:
                        break
                assert time.monotonic() < deadline
