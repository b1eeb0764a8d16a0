"""What a call to the service can raise, as one tree.

EvalmodeApiError          status, reason, errors, metadata
+-- NoAnswer              no whole answer came: refused, broken or timed out
+-- BadAnswer             an answer that is not of this service, or bytes of another checksum
+-- WaitTimeout           `wait` gave up; the work goes on
+-- Refused               4xx: asking the same again will not help
|   +-- Malformed         400 not JSON, or a bad header
|   +-- NotAuthenticated  401 no key, or a wrong one
|   +-- NotPermitted      403 the key lacks the scope
|   +-- NotFound          404 nothing under this id
|   +-- Conflict          409 the present state forbids it
|   +-- TooLarge          413 body over the limit
|   +-- UnsupportedType   415 a media type that is not taken
|   +-- Invalid           422 JSON that is not a good request; `errors` names the fields
|   +-- QuotaUsed         429 too much for this key now
+-- ServiceFault          5xx
    +-- Unavailable       503, 507: full, or its database or disk is; try again later
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Problem:
    """What the service said about a refusal."""

    status: int | None = None
    reason: str = ""  # stable, UPPER_SNAKE
    detail: str = ""
    errors: tuple[Mapping[str, str], ...] = ()  # path and message of each field at fault
    metadata: Mapping[str, Any] = field(default_factory=dict)  # every value used in the text
    retry_after_seconds: float | None = None


class EvalmodeApiError(Exception):
    """Base of everything a call to the service can raise."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(_sentence(problem))
        self.problem = problem

    @property
    def status(self) -> int | None:
        """HTTP status; None when no answer came."""
        return self.problem.status

    @property
    def reason(self) -> str:
        """Stable UPPER_SNAKE code."""
        return self.problem.reason

    @property
    def errors(self) -> tuple[Mapping[str, str], ...]:
        """Fields at fault, each with `path` and `message`."""
        return self.problem.errors

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Every value used in the message."""
        return self.problem.metadata


class NoAnswer(EvalmodeApiError):
    """No whole answer came: the connection was refused, broke or timed out."""

    def __init__(self, detail: str) -> None:
        super().__init__(Problem(reason="NO_ANSWER", detail=detail))


class BadAnswer(EvalmodeApiError):
    """An answer that is not of this service, or a download with another checksum."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        super().__init__(Problem(status=status, reason="BAD_ANSWER", detail=detail))


class WaitTimeout(EvalmodeApiError):
    """`wait` gave up before the run or operation ended; it goes on.

    Args:
        last_seen: the run or operation as it was last seen.
        seconds: how long was waited.
    """

    def __init__(self, last_seen: Any, seconds: float) -> None:
        detail = f"{last_seen.id} is {last_seen.state} after {seconds:g} s"
        super().__init__(Problem(reason="WAIT_TIMEOUT", detail=detail))
        self.last_seen = last_seen


class Refused(EvalmodeApiError):
    """The service will not do this; asking the same again will not help."""


class Malformed(Refused):
    """Not JSON, or a bad header (400)."""


class NotAuthenticated(Refused):
    """No key, or a wrong one (401)."""


class NotPermitted(Refused):
    """The key lacks the scope (403)."""


class NotFound(Refused):
    """There is nothing under this id (404)."""


class Conflict(Refused):
    """The present state forbids it (409); `metadata["state"]` tells it for a run."""


class TooLarge(Refused):
    """The body is over the limit (413)."""


class UnsupportedType(Refused):
    """A media type that is not taken (415)."""


class Invalid(Refused):
    """JSON that is not a good request (422); `errors` names the fields."""


class QuotaUsed(Refused):
    """Too much for this key now (429)."""


class ServiceFault(EvalmodeApiError):
    """The service failed (5xx)."""


class Unavailable(ServiceFault):
    """The service, its database or its disk is full or away (503, 507)."""


BY_STATUS: dict[int, type[EvalmodeApiError]] = {
    400: Malformed,
    401: NotAuthenticated,
    403: NotPermitted,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    415: UnsupportedType,
    422: Invalid,
    429: QuotaUsed,
    503: Unavailable,
    507: Unavailable,
}


def error_for(status: int, headers: Mapping[str, str], body: bytes) -> EvalmodeApiError:
    """The error of an answer; a body that is not problem+json still gives one."""
    kind = BY_STATUS.get(status) or (ServiceFault if status >= 500 else Refused)
    found = _json_object(body)
    detail = found.get("detail") or found.get("error") or found.get("title")
    return kind(
        Problem(
            status=status,
            reason=str(found.get("reason", f"HTTP_{status}")),
            detail=str(detail or f"the service answered {status}"),
            errors=tuple(found.get("errors", ())),
            metadata=found.get("metadata", {}),
            retry_after_seconds=_seconds(headers.get("retry-after")),
        )
    )


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isdecimal() else None


def _sentence(problem: Problem) -> str:
    fields = "".join(
        f"\n  {error.get('path') or 'body'}: {error.get('message')}" for error in problem.errors
    )
    code = f" [{problem.reason}]" if problem.reason else ""
    return f"{problem.detail}{code}{fields}"
