"""A service that is a list of prepared answers, for procedures that open no connection."""

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import pytest

from evalmode.steps import Answer, Done, Emit, Open, Read, Request, Send, Sleep, advance


@dataclass
class Played:
    """What a procedure did."""

    value: Any = None
    emitted: list[Any] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)


def perform(step: Any, results: list[Any], played: Played) -> Any:
    match step:
        case Emit(value):
            return played.emitted.append(value)
        case Sleep(seconds):
            played.pauses.append(seconds)
            return sum(played.pauses)  # the clock stands at the sum of the pauses
        case Send(request) | Open(request):
            played.requests.append(request)
            return results.pop(0)
        case Read():
            return results.pop(0)
    raise AssertionError(step)


@pytest.fixture
def play() -> Callable[..., Played]:
    """Performs a procedure with prepared results of its `Send`, `Open` and `Read` steps."""

    def run(steps: Generator[Any, Any, Any], *results: Any) -> Played:
        played, left = Played(), list(results)
        step = advance(steps, None)
        while not isinstance(step, Done):
            step = advance(steps, perform(step, left, played))
        assert left == [], "the procedure ended before every answer was used"
        played.value = step.value
        return played

    return run


@pytest.fixture
def answer() -> Callable[..., Answer]:
    """Makes a whole answer; header names are written with underscores."""

    def make(body: Any = b"", status: int = 200, **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Answer(status, {k.replace("_", "-"): v for k, v in headers.items()}, raw)

    return make


@pytest.fixture
def make_run() -> Callable[..., dict[str, Any]]:
    """Makes the JSON body of a run."""

    def make(state: str = "queued", **fields: Any) -> dict[str, Any]:
        return {
            "id": "run_1",
            "object": "run",
            "state": state,
            "spec": {"dataset": "digits"},
            "spec_hash": "sha256:0",
            "progress": {"step": 0, "steps": 10, "fraction": 0.0},
            "created_at": "2026-01-01T00:00:00Z",
            **fields,
        }

    return make


@pytest.fixture
def make_operation() -> Callable[..., dict[str, Any]]:
    """Makes the JSON body of an operation."""

    def make(state: str = "queued", **fields: Any) -> dict[str, Any]:
        return {
            "id": "op_1",
            "object": "operation",
            "kind": "recalibrate",
            "state": state,
            "done": state in {"succeeded", "failed"},
            "progress": 0.0,
            "checkpoint": "ckpt_1",
            "dataset": None,
            "result": None,
            "error": None,
            "created_at": "2026-01-01T00:00:00Z",
            "started_at": None,
            "finished_at": None,
            **fields,
        }

    return make
