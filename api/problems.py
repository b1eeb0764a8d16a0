"""Everything that goes wrong, as a status and an `application/problem+json` body.

The one table from errors to statuses. It knows no route.
"""

import random
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from api.validation import FieldError, cut, field_errors
from core import errors as core
from model import errors as model

MEDIA_TYPE = "application/problem+json"
MAX_INSTANCE = 200

STATUS: dict[type[Exception], int] = {
    core.EvalmodeError: 500,
    core.NotFound: 404,
    core.RunNotFound: 404,
    core.DatasetNotFound: 404,
    core.CheckpointNotFound: 404,
    core.RevisionNotFound: 404,
    core.OperationNotFound: 404,
    core.ExperimentNotFound: 404,
    core.ModelNotFound: 404,
    core.ModelVersionNotFound: 404,
    core.FileMissing: 404,
    core.Conflict: 409,
    core.MoveForbidden: 409,
    core.RunNotEnded: 409,
    core.RunInUse: 409,
    core.ExperimentNotEnded: 409,
    core.ReportNotReady: 409,
    core.CheckpointNotReady: 409,
    core.CheckpointInUse: 409,
    core.CheckpointOfRun: 409,
    core.RevisionNameTaken: 409,
    core.DatasetInUse: 409,
    core.DatasetBuiltIn: 409,
    core.Fenced: 409,
    core.IdempotencyMismatch: 422,
    core.IdempotencyInFlight: 409,
    core.BadCursor: 400,
    core.Unavailable: 503,
    core.QueueFull: 503,
    core.DatabaseUnavailable: 503,
    core.StoreUnavailable: 503,
    core.DiskLow: 503,
    model.ModelError: 500,
    model.SpecRefused: 422,
    model.DatasetInvalid: 422,
    model.DatasetTooLarge: 422,
    model.InputRefused: 422,
    model.CheckpointRefused: 422,
    model.ChecksumMismatch: 422,
    model.StatisticsMissing: 422,
    model.StatisticsChanged: 422,
    model.ShapeMismatch: 422,
    model.DeviationZero: 422,
    model.ExportRefused: 422,
    model.FoldRefused: 422,
}

# Seconds after which it makes sense to come back; the answer adds up to as much again, so that
# clients that were refused together do not return together.
RETRY_AFTER: dict[type[Exception], int] = {
    core.IdempotencyInFlight: 1,
    core.Unavailable: 2,
    core.QueueFull: 5,
    core.DatabaseUnavailable: 2,
    core.StoreUnavailable: 5,
    core.DiskLow: 30,
}


class Problem(BaseModel):
    """An error (RFC 9457) with a stable `reason`."""

    type: str = Field(description="URN of the kind of problem; one per reason.")
    title: str = Field(description="The reason in words.")
    status: int = Field(description="The HTTP status again.")
    detail: str = Field(description="What happened, for people; never repeats the input.")
    instance: str = Field(description="Path of the request, shortened to 200 characters.")
    reason: str = Field(pattern="^[A-Z][A-Z0-9_]*$", description="What clients switch on.")
    metadata: dict[str, Any] = Field(description="Every value that the text uses.")
    errors: list[FieldError] | None = Field(
        None, description="The fields at fault, 20 at most; only for invalid requests."
    )


class Refusal(HTTPException):
    """What the HTTP layer refuses by itself, before a core function is asked.

    Args:
        status: HTTP status.
        reason: stable code, UPPER_SNAKE.
        detail: a sentence for the user; never repeats the input.
        headers: extra response headers.
        metadata: every value used in the text, JSON-ready.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **metadata: Any,
    ) -> None:
        super().__init__(status, detail, headers)
        self.reason = reason
        self.metadata = metadata
        self.errors: list[FieldError] | None = None  # the fields at fault, where there are such


class Invalid(Refusal):
    """A request whose fields are at fault; each with its path."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__(422, "VALIDATION_FAILED", _summary(errors), errors=len(errors))
        self.errors = list(errors)


def invalid(error: ValidationError, body: Any) -> Invalid:
    """The refusal of a body that a model of ours did not accept."""
    found = [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
    return Invalid(*field_errors(found, body))


def body(problem: Problem) -> bytes:
    """The JSON of a problem; what is not finite becomes null."""
    return to_json(problem, exclude_none=True, inf_nan_mode="null", serialize_unknown=True)


def answer(request: Request, refusal: Refusal) -> Response:
    """The response to a refused request; under /v2 in the form of the Open Inference Protocol."""
    headers = dict(refusal.headers or {})
    if request.url.path.startswith("/v2"):
        return JSONResponse({"error": refusal.detail}, refusal.status_code, headers)
    problem = Problem(
        type="urn:evalmode:problem:" + refusal.reason.lower().replace("_", "-"),
        title=refusal.reason.replace("_", " ").capitalize(),
        status=refusal.status_code,
        detail=refusal.detail,
        instance=instance(request),
        reason=refusal.reason,
        metadata=refusal.metadata,
        errors=refusal.errors,
    )
    return Response(body(problem), refusal.status_code, headers, MEDIA_TYPE)


def instance(request: Request) -> str:
    """The path as it was sent, percent-encoded, cut to a bounded length."""
    raw = request.scope.get("raw_path") or request.url.path.encode("ascii", "backslashreplace")
    return str(raw, "ascii", "replace")[:MAX_INSTANCE]


def refusal_of(error: core.EvalmodeError | model.ModelError) -> Refusal:
    """The error of a room below, as HTTP says it."""
    headers = {}
    seconds = _lookup(RETRY_AFTER, error)
    if seconds is not None:
        headers["Retry-After"] = str(random.randint(seconds, 2 * seconds))
    status = _lookup(STATUS, error) or 500
    refusal = Refusal(status, error.reason, error.message, headers)
    refusal.metadata = error.metadata
    path = _path_of(error)
    if path is not None:
        refusal.errors = [FieldError(path=cut(path), message=error.message)]
    return refusal


def _lookup(table: Mapping[type[Exception], int], error: Exception) -> int | None:
    return next((table[kind] for kind in type(error).__mro__ if kind in table), None)


def _summary(errors: Sequence[FieldError]) -> str:
    if len(errors) == 1:
        return f"{errors[0].path}: {errors[0].message}"
    return f"{len(errors)} fields are not valid."


def install(app: FastAPI, ids: Mapping[str, type[core.NotFound]] | None = None) -> None:
    """Make every refusal of the app a problem; what nothing expects is `access.Access`'s.

    Args:
        ids: by the path before an id, what says that there is nothing under it. An id with an
            encoded slash meets no route, and must not be answered in another way.
    """
    app.state.ids = dict(ids or {})
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(core.EvalmodeError, _on_error)
    app.add_exception_handler(model.ModelError, _on_error)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, Refusal):
        return answer(request, error)
    headers = dict(error.headers or {})
    if error.status_code == 404 and b"%2f" in request.scope.get("raw_path", b"").lower():
        for prefix, unknown in request.app.state.ids.items():
            if request.url.path.startswith(prefix):
                return answer(request, refusal_of(unknown()))
    if error.status_code == 405:
        headers["Allow"] = ", ".join(allowed_methods(request))
    phrase = HTTPStatus(error.status_code).phrase
    reason = phrase.upper().replace(" ", "_").replace("-", "_")
    return answer(request, Refusal(error.status_code, reason, f"{phrase}.", headers))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return answer(request, Invalid(*field_errors(error.errors(), error.body)))


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, core.EvalmodeError | model.ModelError)
    return answer(request, refusal_of(error))


def _path_of(error: Exception) -> str | None:
    if isinstance(error, model.SpecRefused):
        return error.path
    if isinstance(error, model.InputRefused):
        row = error.metadata.get("row")
        return "inputs" if row is None else f"inputs.{row}"
    return None


def allowed_methods(request: Request, *, implied: bool = True) -> list[str]:
    """Every method that some route takes at the request's path; GET implies HEAD."""
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.methods and route.path_regex.match(request.url.path):
            methods |= route.methods
    if implied and "GET" in methods:
        methods.add("HEAD")
    return sorted(methods)
