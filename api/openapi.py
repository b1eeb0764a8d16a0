"""The description of the API: shared refusals, and bodies that routes read themselves.

What FastAPI cannot see in a signature is said here; it knows no route by name.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api import problems
from api.problems import Problem

_REF = "#/components/schemas/{model}"
_WORDS = {
    400: "Not JSON, or a header or cursor that is none.",
    404: "There is nothing under this id.",
    405: "The path takes other methods; `Allow` names them.",
    409: "The present state forbids this, or the first request with this key has not ended.",
    413: "The body is larger than its limit.",
    415: "Another Content-Type than those accepted, or a compressed body.",
    416: "The range begins after the end of the file.",
    422: "The request is well-formed but not valid; `errors` names each field.",
    431: "Path and headers are larger than their limit.",
    503: "Not now; come back after Retry-After.",
}
_EVERYWHERE = frozenset({405, 431, 503})  # the refusals that any request may get
_HEADERS: dict[str, dict[str, str]] = {
    "Accept-Ranges": {"type": "string", "description": "`bytes`: one range may be asked for."},
    "Allow": {"type": "string", "description": "The methods that the path takes."},
    "Content-Range": {"type": "string", "description": "Which bytes of how many."},
    "Largest-Difference": {
        "type": "number",
        "description": "Between its logits and those of the network as trained, as a share of "
        "the largest logit, on rows of its dataset. The file's metadata has the whole comparison.",
    },
    "ETag": {"type": "string", "description": "The sha256 of the file, in quotes."},
    "Idempotent-Replay": {
        "type": "string",
        "description": "`true` where an earlier request with the same Idempotency-Key made it.",
    },
    "Location": {"type": "string", "description": "Path of the created resource."},
    "Retry-After": {"type": "integer", "description": "Seconds to wait."},
}
_REFUSED_WITH = {
    405: ("Allow",),
    409: ("Retry-After",),  # only where waiting helps: the first request is in flight
    416: ("Content-Range",),
    503: ("Retry-After",),
}

Responses = dict[int | str, dict[str, Any]]


def refusals(*statuses: int) -> Responses:
    """The refusals of a route, for its `responses`; some are everybody's."""
    return {status: _refusal(status) for status in sorted({*statuses, *_EVERYWHERE})}


def headers(*names: str) -> dict[str, Any]:
    """The headers that a response may carry, as a part of its description."""
    described = {
        name: {"description": header["description"], "schema": {"type": header["type"]}}
        for name, header in ((name, _HEADERS[name]) for name in names)
    }
    return {"headers": described}


def asks_with(described: dict[str, str]) -> dict[str, Any]:
    """Request headers that a route reads itself, by name, for its `openapi_extra`."""
    return {
        "parameters": [
            {"name": name, "in": "header", "description": what, "schema": {"type": "string"}}
            for name, what in described.items()
        ]
    }


def reference(model: str) -> dict[str, str]:
    """The schema of a model that the description has."""
    return {"$ref": _REF.format(model=model)}


def _refusal(status: int) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": _WORDS[status],
        "content": {problems.MEDIA_TYPE: {"schema": reference("Problem")}},
    }
    names = _REFUSED_WITH.get(status, ())
    return described | (headers(*names) if names else {})


def body(content: dict[str, type[BaseModel] | str]) -> dict[str, Any]:
    """A request body that a route reads itself, for its `openapi_extra`.

    Args:
        content: by media type, a model, or words for bytes.
    """
    described = {
        kind: {"schema": {"type": "string", "format": "binary", "description": what}}
        if isinstance(what, str)
        else {"schema": reference(what.__name__)}
        for kind, what in content.items()
    }
    return {"requestBody": {"required": True, "content": described}}


def install(app: FastAPI, *models: type[BaseModel]) -> None:
    """Let the app describe itself with problems, and with models that only bodies name."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app, (Problem, *models))
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]


def _describe(app: FastAPI, models: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    described = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    schemas = described["components"]["schemas"]
    _, more = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    schemas.update(more["$defs"])
    _drop_assumed_refusals(described)
    return described


def _drop_assumed_refusals(described: dict[str, Any]) -> None:
    """FastAPI assumes a 422 of its own form wherever there is a parameter: we have none such."""
    for path in described["paths"].values():
        for operation in path.values():
            assumed = operation["responses"].get("422", {}).get("content", {})
            if "application/json" in assumed:
                del operation["responses"]["422"]
    for unused in ("HTTPValidationError", "ValidationError"):
        described["components"]["schemas"].pop(unused, None)
