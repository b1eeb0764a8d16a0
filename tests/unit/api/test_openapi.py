"""The description of the API names every field, every parameter and every refusal."""

from collections.abc import Iterator
from typing import Any

import pytest

from api.main import create_app
from core.settings import Settings

DESCRIBED: dict[str, Any] = create_app(Settings()).openapi()
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, operations in DESCRIBED["paths"].items()
    for method, operation in operations.items()
]


FIELDS = [
    (f"{name}.{field}", described)
    for name, schema in DESCRIBED["components"]["schemas"].items()
    for field, described in schema.get("properties", {}).items()
]


@pytest.mark.parametrize(("name", "field"), FIELDS, ids=[name for name, _ in FIELDS])
def test_every_field_says_what_it_is(name: str, field: dict[str, Any]) -> None:
    # A constant says it all.
    assert "const" in field or field.get("description")


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_every_operation_describes_itself_and_its_parameters(
    name: str, operation: dict[str, Any]
) -> None:
    assert operation["description"]
    assert operation["operationId"].islower()
    assert all(parameter.get("description") for parameter in operation.get("parameters", []))


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_every_refusal_is_a_problem(name: str, operation: dict[str, Any]) -> None:
    refusals = {code: one for code, one in operation["responses"].items() if code >= "400"}
    assert "503" in refusals
    for refusal in refusals.values():
        (media_type,) = refusal["content"]
        schema = refusal["content"][media_type]["schema"]
        assert media_type == "application/problem+json"
        assert schema == {"$ref": "#/components/schemas/Problem"}


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_what_reads_a_body_says_how_it_refuses_one(name: str, operation: dict[str, Any]) -> None:
    if "requestBody" in operation:
        assert {"400", "413", "415", "422"} <= set(operation["responses"])
    if "{" in name:
        assert "404" in operation["responses"]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_leads_somewhere() -> None:
    known = {f"#/components/schemas/{name}" for name in DESCRIBED["components"]["schemas"]}
    assert set(references(DESCRIBED)) <= known
