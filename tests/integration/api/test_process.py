"""`python -m api` as a process: an inherited socket, an orderly end, a message for bad settings."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

SPEC = {"dataset": "digits", "network": {"kind": "mlp"}}


class Process:
    """One API process on a socket that the test holds."""

    def __init__(self, data: Path, broker: str, **settings: str) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        given = {"EVALMODE_DATA": str(data), "EVALMODE_BROKER_URL": broker, **settings}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "api", "--fd", str(listener.fileno())],
            pass_fds=[listener.fileno()],
            env={**os.environ, **given},
            stderr=subprocess.PIPE,
        )
        listener.close()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Exit code and seconds from the signal to the end."""
        started = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(30)
        return code, time.monotonic() - started


@pytest.fixture
def process(tmp_path: Path, redis_server: Any) -> Iterator[Process]:
    process = Process(tmp_path, redis_server.url, EVALMODE_MIN_FREE_BYTES="0")
    yield process
    if process.process.poll() is None:
        process.process.kill()
    process.process.communicate()


def test_requests_wait_on_an_inherited_socket_until_the_process_is_up(process: Process) -> None:
    answer = httpx.post(f"{process.url}/v1/runs", json=SPEC, timeout=60)
    assert answer.status_code == 202


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_at_once(process: Process, number: int) -> None:
    httpx.get(f"{process.url}/health/live", timeout=60)
    code, seconds = process.stop(number)
    assert (code, seconds < 5) == (0, True)


def test_open_streams_end_promptly_at_shutdown(process: Process) -> None:
    with httpx.Client(base_url=process.url, timeout=60) as client:
        run = client.post("/v1/runs", json=SPEC).json()["id"]
        with client.stream("GET", f"/v1/runs/{run}/events/stream") as answer:
            texts = answer.iter_text()
            assert next(texts)
            code, seconds = process.stop()
            assert "".join(texts) is not None  # it ends whole, not broken off
    assert (code, seconds < 5) == (0, True)


def test_a_request_that_is_on_its_way_is_finished(process: Process) -> None:
    httpx.get(f"{process.url}/health/live", timeout=60)
    host, _, port = process.url.removeprefix("http://").partition(":")
    body = b'{"dataset": "digits", "network": {"kind": "mlp"}}'
    head = (
        b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head + body[:10])
        time.sleep(0.2)
        ending = threading.Thread(target=process.stop)
        ending.start()
        time.sleep(0.3)
        connection.sendall(body[10:])
        assert connection.recv(10_000).startswith(b"HTTP/1.1 202")
    ending.join()


def test_its_log_is_json_on_standard_error(process: Process) -> None:
    httpx.get(f"{process.url}/health/live", timeout=60)
    process.stop()
    assert process.process.stderr is not None
    lines = process.process.stderr.read().decode().splitlines()
    assert lines
    assert all(line.startswith("{") and line.endswith("}") for line in lines)


def test_settings_that_cannot_work_are_named(tmp_path: Path) -> None:
    given = {"EVALMODE_DATA": str(tmp_path), "EVALMODE_LEASE_SECONDS": "5"}
    found = subprocess.run(
        [sys.executable, "-m", "api"],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 2
    assert "EVALMODE_HEARTBEAT_SECONDS" in found.stderr
    assert found.stdout == ""
