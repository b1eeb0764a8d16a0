"""HEAD answers like GET, without a body."""

from typing import Any

import httpx
import pytest

PATHS = [
    "/health/live",
    "/health/ready",
    "/metrics",
    "/v1/capabilities",
    "/v1/runs?limit=1",
    "/v1/runs/{id}",
    "/v1/runs/{id}/checkpoints",
    "/v1/runs/{id}/events/stream",
    "/v1/runs/{id}/statistics/history",
    "/v1/checkpoints/{checkpoint}",
    "/v1/checkpoints/{checkpoint}/revisions",
    "/v1/checkpoints/{checkpoint}/statistics",
    "/v1/checkpoints/{checkpoint}/statistics/history",
    "/v1/checkpoints/{checkpoint}/statistics/history.svg",
    "/v1/checkpoints/{checkpoint}/diagnosis",
    "/v1/checkpoints/{checkpoint}/diff?with={checkpoint}",
    "/v1/operations",
    "/v1/datasets/digits",
    "/openapi.json",
]


@pytest.mark.parametrize("path", PATHS)
def test_head_answers_like_get_without_a_body(
    client: httpx.Client, trained: dict[str, Any], path: str
) -> None:
    head, got = (client.request(method, path.format(**trained)) for method in ("HEAD", "GET"))
    assert (head.status_code, head.content) == (got.status_code, b"") == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert ("content-length" in head.headers) == ("content-length" in got.headers)


def test_head_of_nothing_is_404_and_of_a_move_405(client: httpx.Client) -> None:
    assert client.head("/v1/runs/x").status_code == 404
    move = client.head("/v1/runs/x/cancel")
    assert (move.status_code, move.headers["allow"]) == (405, "POST")


def test_a_stream_that_only_its_head_was_asked_of_ends(client: httpx.Client, service: Any) -> None:
    queued = service.submit()["id"]
    for _ in range(3):
        head = client.head(f"/v1/runs/{queued}/events/stream", timeout=5)
        assert head.headers["content-type"].startswith("text/event-stream")


def test_a_path_that_takes_get_allows_head(client: httpx.Client) -> None:
    assert client.put("/v1/runs").headers["allow"] == "GET, HEAD, POST"
