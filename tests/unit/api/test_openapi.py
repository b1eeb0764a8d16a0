"""The description of the API names every field, every parameter and every refusal."""

from collections.abc import Iterator
from typing import Any

import pytest

from api.main import create_app
from core.settings import Settings

DESCRIBED: dict[str, Any] = create_app(Settings()).openapi()
CHECKPOINT = "/v1/checkpoints/{checkpoint_id}"
DOWNLOAD = f"{CHECKPOINT}/download"
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


HEADERS = {
    ("/v1/runs", "post", "202"): {"Location", "Idempotent-Replay"},
    ("/v1/datasets", "post", "201"): {"Location", "Idempotent-Replay"},
    ("/v1/checkpoints", "post", "201"): {"Location", "Idempotent-Replay"},
    (f"{CHECKPOINT}/recalibrate", "post", "202"): {"Location", "Idempotent-Replay"},
    (f"{CHECKPOINT}/revisions", "post", "202"): {"Location", "Idempotent-Replay"},
    ("/v1/runs", "post", "409"): {"Retry-After"},
    ("/v1/runs", "get", "405"): {"Allow"},
    ("/v1/runs", "get", "503"): {"Retry-After"},
    (DOWNLOAD, "get", "200"): {"ETag", "Accept-Ranges"},
    (DOWNLOAD, "get", "206"): {"ETag", "Accept-Ranges", "Content-Range"},
    (DOWNLOAD, "get", "304"): {"ETag"},
    (DOWNLOAD, "get", "416"): {"Content-Range"},
}


@pytest.mark.parametrize(("path", "method", "status"), HEADERS)
def test_a_response_names_its_headers(path: str, method: str, status: str) -> None:
    described = DESCRIBED["paths"][path][method]["responses"][status]["headers"]
    assert set(described) == HEADERS[path, method, status]
    assert all(header["description"] and header["schema"] for header in described.values())


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=[name for name, _ in OPERATIONS])
def test_every_operation_says_what_any_request_may_get(
    name: str, operation: dict[str, Any]
) -> None:
    assert {"405", "431", "503"} <= set(operation["responses"])


def test_what_routes_read_themselves_is_described() -> None:
    taken = {
        (path, method): {one["name"] for one in operation.get("parameters", [])}
        for path, operations in DESCRIBED["paths"].items()
        for method, operation in operations.items()
    }
    assert {"Range", "If-None-Match", "If-Range"} <= taken[DOWNLOAD, "get"]
    assert "If-None-Match" in taken[DOWNLOAD, "head"]
    assert "labels" in taken["/v1/runs", "get"]


def test_the_metrics_are_plain_text() -> None:
    answer = DESCRIBED["paths"]["/metrics"]["get"]["responses"]["200"]
    assert set(answer["content"]) == {"text/plain"}


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
