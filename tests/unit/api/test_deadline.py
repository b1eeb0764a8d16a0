"""A request must arrive in time; whatever else takes long is left alone. Real sockets."""

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn

from api.deadline import Arrival, protocol

DEADLINE = 0.4
ARRIVAL = Arrival(DEADLINE, 1.5, frozenset({"/upload"}), connections=8)
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Reads the whole body, waits as long as the query says, answers in two pieces."""
    while (await receive()).get("more_body"):
        pass
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    await send(head)
    await send({"type": "http.response.body", "body": b"o", "more_body": True})
    seconds = float(scope["query_string"] or 0)
    if seconds:
        await asyncio.sleep(seconds)
    await send({"type": "http.response.body", "body": b"k"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app,
        port=0,
        http=protocol(ARRIVAL),
        lifespan="off",
        log_config=None,
        timeout_keep_alive=5,
        h11_max_incomplete_event_size=16_384,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        yield connection


def seconds_until_cut(connection: socket.socket) -> float:
    """How long until the server closes without an answer."""
    started = time.monotonic()
    with suppress(ConnectionResetError):
        assert connection.recv(1_000) == b""
    return time.monotonic() - started


def answer(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(10_000):
        received += piece
        if received.endswith(b"ok"):
            break
    return received


@pytest.mark.parametrize(
    "start",
    [b"", b"PO", b"POST / HTTP/1.1\r\nHost: x\r\n", HEAD + b"\r\n", HEAD + b"\r\n12345"],
)
def test_half_a_request_is_cut_at_the_deadline(start: bytes, port: int) -> None:
    with connected(port) as connection:
        connection.sendall(start)
        assert DEADLINE * 0.5 < seconds_until_cut(connection) < DEADLINE * 3


def test_a_dripping_request_is_cut_at_the_same_deadline(port: int) -> None:
    started = time.monotonic()
    with connected(port) as connection, suppress(ConnectionError):
        connection.sendall(HEAD)
        while time.monotonic() - started < 5:
            connection.sendall(b"x")
            time.sleep(0.05)
    assert time.monotonic() - started < DEADLINE * 4


def test_fifty_half_requests_do_not_keep_others_out_for_long(port: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    time.sleep(DEADLINE * 2)
    with connected(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(connection).endswith(b"ok")
    for connection in idle:
        connection.close()


def test_a_long_answer_is_left_alone(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(b"GET /?1.0 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(connection).endswith(b"ok")


def test_a_connection_between_requests_is_left_alone(port: int) -> None:
    with connected(port) as connection:
        for _ in range(2):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer(connection).endswith(b"ok")
            time.sleep(DEADLINE * 2)


def test_a_second_request_has_a_deadline_too(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer(connection)
        time.sleep(DEADLINE)
        connection.sendall(b"GET / HTTP")
        assert DEADLINE * 0.5 < seconds_until_cut(connection) < DEADLINE * 3


def test_an_upload_may_take_longer_but_not_for_ever(port: int) -> None:
    head = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
    with connected(port) as connection:
        connection.sendall(head + b"12345")
        time.sleep(DEADLINE * 2)
        connection.sendall(b"67890")
        assert answer(connection).endswith(b"ok")
        connection.sendall(head)
        assert DEADLINE * 2 < seconds_until_cut(connection) < 3


def refusal(connection: socket.socket) -> tuple[bytes, dict[str, Any]]:
    """Head and problem of an answer after which the server closes."""
    received = b""
    while piece := connection.recv(10_000):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return head, json.loads(body)


@pytest.mark.parametrize(
    "request_head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        b"GET\r\n\r\n",
        HEAD + b"Content-Length: 20\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http_is_answered_with_a_problem(request_head: bytes, port: int) -> None:
    with connected(port) as connection:
        connection.sendall(request_head)
        problem = refusal(connection)[1]
        assert (problem["reason"], problem["instance"]) == ("INVALID_HTTP", "/")


def test_a_body_that_is_not_http_names_the_path_of_its_head(port: int) -> None:
    with connected(port) as connection:
        head = b"POST /a%20b?0 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"no number\r\n")
        problem = refusal(connection)[1]
        assert (problem["reason"], problem["instance"]) == ("INVALID_HTTP", "/a%20b")


def test_garbage_behind_a_request_does_not_disturb_its_answer(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(b"GET /?0.2 HTTP/1.1\r\nHost: x\r\n\r\n\x00\x00\x00\r\n\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 200")


def test_one_connection_too_many_is_503_and_health_is_still_answered(port: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(ARRIVAL.connections)]
    with connected(port) as connection:
        connection.sendall(b"GET /v1/runs HTTP/1.1\r\nHost: x\r\n\r\n")
        head, problem = refusal(connection)
    with connected(port) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer(connection).endswith(b"ok")
    for one in idle:
        one.close()
    assert head.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 1" in head
    assert problem["reason"] == "TOO_MANY_CONNECTIONS"
    assert (problem["instance"], problem["metadata"]) == ("/v1/runs", {"limit": 8})
    assert "8 connections" in problem["detail"]
