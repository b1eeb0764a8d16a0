"""From the findings of Pydantic to the fields at fault: a path and a message, never the input."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic import BaseModel, Field

MAX_ERRORS = 20
MAX_PATH = 200
MAX_NAME = 40  # characters of a name that the client made up
ROOT = "body"

_MESSAGES = {
    "missing": "is required",
    "union_tag_not_found": "is required",
    "extra_forbidden": "unknown field",
    "model_attributes_type": "must be an object",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
}


class FieldError(BaseModel):
    """One field at fault."""

    path: str = Field(
        max_length=MAX_PATH, description="Dotted path in the request, as `network.hidden.0`."
    )
    message: str = Field(description="Why, without the value itself.")


def field_errors(errors: Sequence[Mapping[str, Any]], body: Any = None) -> list[FieldError]:
    """The first errors of a validation, each with a path that the client can find in its request.

    Args:
        errors: as FastAPI reports them, `loc` starting with the place (body, query, header).
        body: the parsed body, to tell field names from the tags of unions in `loc`.
    """
    told = (
        error
        for before, error in zip([None, *errors], errors, strict=False)
        if not _follows_from(before, error)
    )
    return [
        FieldError(path=_path(error, body), message=_message(error))
        for error in islice(told, MAX_ERRORS)
    ]


def _follows_from(before: Mapping[str, Any] | None, error: Mapping[str, Any]) -> bool:
    """Whether a list is too short only because its items, told just before, were refused."""
    if before is None or error["type"] != "too_short":
        return False
    where = error["loc"]
    return len(before["loc"]) > len(where) and bool(before["loc"][: len(where)] == where)


def _path(error: Mapping[str, Any], body: Any) -> str:
    return cut(".".join(shorten(step) for step in _steps(error, body)) or ROOT)


def cut(path: str) -> str:
    """A path of bounded length; what is too long loses its end, marked by an ellipsis."""
    return path if len(path) <= MAX_PATH else path[: MAX_PATH - 1] + "…"


def shorten(name: str) -> str:
    """A name that is safe to show: bounded, and printable throughout."""
    shown = "".join(letter if letter.isprintable() else "�" for letter in name[: MAX_NAME + 1])
    return shown if len(shown) <= MAX_NAME else shown[:MAX_NAME] + "…"


def _steps(error: Mapping[str, Any], body: Any) -> list[str]:
    """The steps of `loc` that exist in the body.

    A union puts the tag of its member into `loc`, right where the member stands.
    """
    place, *steps = error["loc"] or (ROOT,)
    if place != "body":
        return [str(step) for step in steps]
    found: list[str] = []
    value, entered = body, False
    for step in steps:
        if isinstance(value, dict) and not entered and value.get("kind") == step:
            entered = True
        elif _holds(value, step):
            found.append(str(step))
            value, entered = value[step], False
        elif error["type"] == "missing" and step is steps[-1]:
            found.append(str(step))
    if error["type"].startswith("union_tag") and isinstance(value, dict):
        found.append("kind")
    return found


def _holds(value: Any, step: Any) -> bool:
    if isinstance(value, list):
        return isinstance(step, int) and step < len(value)
    return isinstance(value, dict) and step in value


def _message(error: Mapping[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx") or {}
    if kind == "union_tag_invalid":
        return f"must be one of {context['expected_tags']}"
    if kind == "too_short":
        return f"must have at least {context['min_length']} item(s)"
    if kind == "too_long":
        return f"must have at most {context['max_length']} item(s)"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    known = _MESSAGES.get(kind)
    return known if known is not None else str(error["msg"]).removeprefix("Value error, ")
