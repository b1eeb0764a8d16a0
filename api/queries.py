"""What stands behind the question mark: nothing that the description of the route does not name.

An unknown parameter is mostly a known one misspelt, and to ignore it would do what nobody asked.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api.problems import Invalid
from api.validation import MAX_ERRORS, ROOT, FieldError, shorten

CHECKED = "/v1/"
LABEL = "label."

# One parameter per label, which the description can only say as an object taken apart.
LABELS: dict[str, Any] = {
    "name": "labels",
    "in": "query",
    "description": "`label.<key>=<value>`, any number of them: only runs with all these labels.",
    "style": "form",
    "explode": True,
    "schema": {
        "type": "object",
        "propertyNames": {"pattern": r"^label\.[A-Za-z0-9_.-]{1,63}$"},
        "additionalProperties": {"type": "string"},
    },
}


async def require_known(request: Request) -> None:
    """Refuse parameters that the route does not take, and any that stand twice.

    Raises:
        Invalid: 422, naming each of them.
    """
    route = request.scope["route"]
    if request.scope["query_string"] and route.path.startswith(CHECKED):
        errors = list(_errors(request, route))
        if errors:
            raise Invalid(*errors[:MAX_ERRORS])


def _errors(request: Request, route: APIRoute) -> Iterator[FieldError]:
    known, takes_labels = set(_names(route)), _takes_labels(route)
    counted = Counter(name for name, _ in request.query_params.multi_items())
    for name, times in counted.items():
        path = shorten(name) or ROOT
        if name not in known and not (takes_labels and name.startswith(LABEL)):
            yield FieldError(path=path, message="unknown query parameter")
        elif times > 1:
            yield FieldError(path=path, message="may be given only once")


def _takes_labels(route: APIRoute) -> bool:
    return LABELS in (route.openapi_extra or {}).get("parameters", [])


def _names(route: APIRoute) -> Iterator[str]:
    for field in route.dependant.query_params:
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from kind.model_fields
        else:
            yield field.alias
