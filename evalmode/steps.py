"""What a client does, as generators of small steps: pure, the same for sync and async.

A procedure yields a step and is sent its result; `evalmode.transport` performs the steps.
Nothing here opens a connection, sleeps or looks at a clock.
"""

import itertools
import json
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from evalmode.errors import BadAnswer, EvalmodeApiError, NoAnswer, error_for

T = TypeVar("T")
Parse = Callable[[Any], T]  # from a JSON body

ATTEMPTS = 7  # 0.2 + 0.4 + … = 12.6 s: longer than the service needs to start a child again
FIRST_DELAY_SECONDS = 0.2
LONGEST_RETRY_AFTER_SECONDS = 30.0


@dataclass(frozen=True)
class Request:
    """One request. All of ours may be repeated: they read, carry an Idempotency-Key, or name
    a target state."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    files: Mapping[str, Path | bytes] = field(default_factory=dict)  # multipart: files, or JSON


@dataclass(frozen=True)
class Answer:
    """A whole answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Send:
    """Send a request. Result: its `Answer`; raises `NoAnswer` into the procedure."""

    request: Request


@dataclass(frozen=True)
class Open:
    """Send a request and keep its body open for `Read`. Result: `Answer`, whose body is there
    only when the status is 400 or more."""

    request: Request


@dataclass(frozen=True)
class Read:
    """Result: the next bytes of the open body, b"" at its end; raises `NoAnswer` when it breaks."""


@dataclass(frozen=True)
class Sleep:
    """Wait. Result: a monotonic clock's seconds afterwards."""

    seconds: float


@dataclass(frozen=True)
class Emit(Generic[T]):
    """Hand one value to the caller who iterates. Result: None."""

    value: T


Step = Send | Open | Read | Sleep
Steps = Generator[Step, Any, T]  # a procedure that returns
Emitting = Generator[Step | Emit[T], Any, None]  # a procedure that emits


@dataclass(frozen=True)
class Done(Generic[T]):
    """The procedure returned."""

    value: T


def advance(steps: Generator[Any, Any, Any], result: Any) -> Any:
    """The next step, given the result of the last one (our exceptions are raised there)."""
    try:
        if isinstance(result, EvalmodeApiError):
            return steps.throw(result)
        return steps.send(result)
    except StopIteration as end:
        return Done(end.value)


def exchange(request: Request, first: type[Send] | type[Open] = Send) -> Steps[Answer]:
    """Send until an answer comes that is neither a broken connection nor "later".

    Raises:
        EvalmodeApiError: the answer's error, or the last one when the attempts are used up.
    """
    broke = False
    for attempt in itertools.count(1):
        try:
            answer: Answer = yield first(request)
            if answer.status < 400:
                return answer
            if broke and request.method == "DELETE" and answer.status == 404:
                return answer  # the attempt that broke had done it
            raise error_for(answer.status, answer.headers, answer.body)
        except EvalmodeApiError as error:
            if attempt == ATTEMPTS or not _may_pass(error):
                raise
            broke = broke or isinstance(error, NoAnswer)
            wait = error.problem.retry_after_seconds
        backoff = FIRST_DELAY_SECONDS * 2 ** (attempt - 1)
        yield Sleep(backoff if wait is None else min(wait, LONGEST_RETRY_AFTER_SECONDS))
    raise AssertionError("the loop above only returns or raises")


def fetch(request: Request, parse: Parse[T]) -> Steps[T]:
    """Send a request and read its JSON answer.

    Raises:
        BadAnswer: the answer is not what the contract says.
    """
    answer = yield from exchange(request)
    return read(answer, parse)


def read(answer: Answer, parse: Parse[T]) -> T:
    """Read a JSON answer.

    Raises:
        BadAnswer: the answer is not what the contract says.
    """
    try:
        return parse(json.loads(answer.body))
    except (ValueError, KeyError, TypeError) as error:
        raise BadAnswer(f"not an answer of this service: {error}", answer.status) from None


def pages(path: str, query: Mapping[str, str], parse: Parse[T]) -> Emitting[T]:
    """Emit every item of a list, newest first, page by page."""
    after: dict[str, str] = {}
    while True:
        page = yield from fetch(Request("GET", path, {**query, **after}), dict)
        for item in page["data"]:
            yield Emit(parse(item))
        if not page["has_more"]:
            return
        after = {"after": str(page["last_id"])}


def post_json(
    path: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
) -> Request:
    """A POST with a JSON body."""
    typed = {"content-type": "application/json", **(headers or {})}
    return Request("POST", path, query or {}, typed, as_json(body))


def put_json(path: str, body: Mapping[str, Any]) -> Request:
    """A PUT with a JSON body."""
    return Request("PUT", path, headers={"content-type": "application/json"}, body=as_json(body))


def as_json(body: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON object.

    Raises:
        ValueError: it holds a number that is not finite.
    """
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None; the others are left to the service's defaults."""
    return {name: value for name, value in fields.items() if value is not None}


def once(key: str | None = None) -> dict[str, str]:
    """The header by which a creation that is sent twice happens once; drawn if None."""
    return {"idempotency-key": key or str(uuid.uuid4())}


def _may_pass(error: EvalmodeApiError) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, NoAnswer) or error.status in {502, 504}:
        return True
    return error.problem.retry_after_seconds is not None and error.status in {409, 429, 503}
