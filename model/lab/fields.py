"""Fields of a spec by their dotted names: specs that are a base with some fields replaced."""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from model.errors import SpecRefused
from model.spec import RunSpec
from model.spec.parts import at_most

PLANNED = ("seed", "name")  # what the plan of an experiment says of each run
MAX_TEXT = 40  # characters of a value in the name of an arm

FieldName = Annotated[
    str,
    Field(
        max_length=100,
        pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+){0,7}$",
        description="A field of the spec, dotted: `norm`, `optimizer.lr`, `network.hidden.0`.",
    ),
]


def _is_not_planned(base: dict[str, Any]) -> dict[str, Any]:
    found = [name for name in PLANNED if name in base]
    if found:
        raise ValueError(f"the experiment sets {' and '.join(found)} of each run itself")
    return base


Base = Annotated[dict[str, Any], at_most(64), AfterValidator(_is_not_planned)]


def varied(
    base: Mapping[str, Any], changes: Mapping[str, Any], named: Mapping[str, str]
) -> RunSpec:
    """A spec with some of its fields replaced.

    Args:
        base: fields of a spec, as a request has them; defaults fill the others in.
        changes: values by dotted field. A field with dots is set in the base with its defaults.
        named: what each of these fields is called in a refusal.

    Raises:
        SpecRefused: it is no spec; the path is one of `named`, or within `base`.
    """
    whole: Any = {**base, **{field: v for field, v in changes.items() if "." not in field}}
    spec = _checked(whole, changes, named)
    deeper = {field: value for field, value in changes.items() if "." in field}
    if not deeper:
        return spec
    whole = spec.model_dump(mode="json")
    for field, value in deeper.items():
        _set(whole, field, value, named[field])
    return _checked(whole, changes, named)


def text_of(value: Any) -> str:
    """A value of a field in a few words, as the name of an arm."""
    if isinstance(value, dict):
        rest = [f"{key} {text_of(one)}" for key, one in value.items() if key != "kind"]
        text = " ".join([str(value["kind"])] if "kind" in value else []) + " " + ", ".join(rest)
    elif isinstance(value, list | tuple):
        text = " ".join(text_of(one) for one in value) or "none"
    else:
        text = value if isinstance(value, str) else json.dumps(value)
    text = text.strip()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _checked(body: Any, changes: Mapping[str, Any], named: Mapping[str, str]) -> RunSpec:
    try:
        return RunSpec.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    steps = steps_in(body, first["loc"])
    if first["type"].startswith("union_tag"):
        steps.append("kind")
    path = ".".join(steps)
    raise SpecRefused(_in_params(path, changes, named), message_of(first))


def _in_params(path: str, changes: Mapping[str, Any], named: Mapping[str, str]) -> str:
    for field in changes:
        if path == field or path.startswith(f"{field}."):
            return named[field] + path[len(field) :]
        if field.startswith(f"{path}."):
            return named[field]
    return f"base.{path}" if path else "base"


def steps_in(body: Any, loc: Sequence[int | str]) -> list[str]:
    """The steps of a finding's place that exist in a body: unions put their tags between them."""
    found: list[str] = []
    for step in loc:
        inside = isinstance(body, dict) and step in body
        inside |= isinstance(body, list) and isinstance(step, int) and step < len(body)
        if inside:
            found.append(str(step))
            body = body[step]
        elif not (isinstance(body, dict) and body.get("kind") == step):
            found.append(str(step))  # what is missing stands last
    return found


def message_of(finding: Mapping[str, Any]) -> str:
    """What is wrong with a field, without the value itself."""
    kind, context = finding["type"], finding.get("ctx") or {}
    if kind == "union_tag_invalid":
        return f"must be one of {context['expected_tags']}"
    known = {"missing": "is required", "union_tag_not_found": "is required"}
    known |= {"extra_forbidden": "unknown field"}
    return known.get(kind) or str(finding["msg"]).removeprefix("Value error, ")


def _set(whole: Any, field: str, value: Any, named: str) -> None:
    """Set a dotted field of a whole spec's JSON.

    Raises:
        SpecRefused: what stands before the last dot is neither an object nor a list with it.
    """
    *parents, last = field.split(".")
    for step in parents:
        whole = _entry(whole, step, field, named)
    if isinstance(whole, list):
        _entry(whole, last, field, named)
        whole[int(last)] = deepcopy(value)
    elif isinstance(whole, dict):
        whole[last] = deepcopy(value)
    else:
        raise _nowhere(field, named)


def _entry(whole: Any, step: str, field: str, named: str) -> Any:
    if isinstance(whole, dict) and step in whole:
        return whole[step]
    if isinstance(whole, list) and step.isdecimal() and int(step) < len(whole):
        return whole[int(step)]
    raise _nowhere(field, named)


def _nowhere(field: str, named: str) -> SpecRefused:
    return SpecRefused(named, f"the base has nothing at {field}", field=field)
