"""How fast runs are accepted and started: one API process, SQLite with full sync, hints sent.

    python -m benchmarks.submission [--seconds 15]

Prints the disk's flush time beside the numbers, because an accepted run is on the disk
before it is answered.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.service import running
from evalmode import Client

CONNECTIONS = 16
SMALL = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [100]}, "norm": "batch"}


def flush_milliseconds() -> float:
    with tempfile.TemporaryDirectory() as folder:
        file = os.open(Path(folder) / "x", os.O_WRONLY | os.O_CREAT)
        times = []
        for _ in range(200):
            began = time.perf_counter()
            os.write(file, b"x" * 4096)
            os.fsync(file)
            times.append(time.perf_counter() - began)
        os.close(file)
    return 1e3 * statistics.median(times)


async def post_for(port: int, seconds: float) -> list[float]:
    """Post runs on one keep-alive connection; seconds until each answer of 202."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps(SMALL).encode()
    head = "POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    taken, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 202"), answer
        length = next(
            int(line.split(b":")[1])
            for line in answer.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        await reader.readexactly(length)
        taken.append(time.perf_counter() - began)
    writer.close()
    await writer.wait_closed()
    return taken


async def post_on_all(port: int, seconds: float) -> list[float]:
    per_connection = await asyncio.gather(*(post_for(port, seconds) for _ in range(CONNECTIONS)))
    return sorted(taken for each in per_connection for taken in each)


def accepted(seconds: float) -> None:
    """Accepted runs per second while a run trains and writes metrics."""
    with running(slots=1, EVALMODE_QUEUE_LIMIT="1000000") as (client, port):
        long = {"budget": {"steps": 10_000_000}, "evaluate_every": {"epochs": 10}}
        busy = client.runs.create(SMALL | long)
        while client.runs.get(busy.id).state != "running":
            time.sleep(0.05)
        began = time.perf_counter()
        taken = asyncio.run(post_on_all(port, seconds))
        rate = len(taken) / (time.perf_counter() - began)
        assert client.runs.get(busy.id).state == "running"
    p50, p99 = (1e3 * taken[int(len(taken) * share)] for share in (0.5, 0.99))
    print(
        f"accepted: {rate:.0f} runs/s on {CONNECTIONS} connections over {seconds:g} s, "
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {1e3 * taken[-1]:.0f} ms"
    )


def started(count: int, starts: int) -> None:
    """Milliseconds from POST to the first training step, and from POST to the end."""
    with running(slots=1) as (client, _):
        first_steps, beyond = zip(*(one_short_run(client) for _ in range(count)), strict=True)
    firsts = [first_steps[0]]
    for _ in range(starts - 1):
        with running(slots=1) as (client, _):
            firsts.append(one_short_run(client)[0])
    print(f"POST to first step: {_summary(first_steps)} of {count} runs in turn")
    print(f"the same, first run after ready: {_summary(firsts)} of {starts} starts")
    print(f"beyond training, runs of 50 steps: {_summary(beyond)} of {count} runs in turn")


def _summary(seconds: Sequence[float]) -> str:
    return f"median {1e3 * statistics.median(seconds):.0f} ms, worst {1e3 * max(seconds):.0f} ms"


def one_short_run(client: Client) -> tuple[float, float]:
    """Seconds from POST to the first step; and from POST to the end, less the training."""
    posted = time.time()
    run = client.runs.create(SMALL | {"budget": {"steps": 50}})
    while run.state not in ("succeeded", "failed"):
        time.sleep(0.01)
        run = client.runs.get(run.id)
    whole = time.time() - posted
    assert run.outcome == "completed", run.error
    events: dict[str, Any] = {event.type: event for event in client.runs.events(run.id)}
    first_step = datetime.fromisoformat(events["training"].data["at"]).timestamp()
    last_step = events["metrics"].at.timestamp()
    return first_step - posted, whole - (last_step - first_step)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--starts", type=int, default=9)
    asked = parser.parse_args()
    print(f"flush of one 4 KiB block: {flush_milliseconds():.2f} ms (median of 200)")
    accepted(asked.seconds)
    started(asked.runs, asked.starts)


if __name__ == "__main__":
    main()
