"""Operations over HTTP: asked for, listed, and told as the worker leaves them."""

import re
from typing import Any

import httpx
import pytest

from core import operation_claims
from core.leases import Owner
from model.findings import Finding

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
OWNER = Owner("worker-1", "host", "cpu")


def recalibrate(client: httpx.Client, checkpoint: str, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/checkpoints/{checkpoint}/recalibrate", json=body)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    assert client.get(answer.headers["location"]).json() == found
    return found


@pytest.fixture
def original(service: Any) -> str:
    checkpoint: str = service.train(norm="batch")["checkpoint"]
    return checkpoint


def test_an_operation_that_waits_has_every_field_of_the_contract(
    client: httpx.Client, original: str
) -> None:
    found = recalibrate(client, original)
    assert re.fullmatch("op_[0-9a-f]{32}", found["id"])
    assert (found["object"], found["kind"]) == ("operation", "recalibrate")
    assert (found["state"], found["done"], found["progress"]) == ("queued", False, 0)
    assert (found["checkpoint"], found["dataset"]) == (original, "ds_digits")
    assert (found["result"], found["error"]) == (None, None)
    assert RFC_3339.fullmatch(found["created_at"])
    assert (found["started_at"], found["finished_at"]) == (None, None)


def claimed(service: Any, operation: str) -> int:
    found = service.database.write(lambda c: operation_claims.claim(c, operation, OWNER, 60))
    assert found is not None
    return int(found.epoch)


def test_what_a_worker_does_is_told(client: httpx.Client, service: Any, original: str) -> None:
    operation = recalibrate(client, original)["id"]
    epoch = claimed(service, operation)
    service.database.write(lambda c: operation_claims.report(c, operation, epoch, 0.5))
    running = client.get(f"/v1/operations/{operation}").json()
    assert (running["state"], running["done"], running["progress"]) == ("running", False, 0.5)
    assert RFC_3339.fullmatch(running["started_at"])
    finding = Finding("BN_STATS_LAG", "warning", "1", {}, "POST /v1/checkpoints/{id}/recalibrate")
    made = "ckpt_" + "1" * 32
    result = {"checkpoint": made, "before": {}, "after": {}, "findings": [finding.to_json()]}
    service.database.write(lambda c: operation_claims.finish(c, operation, epoch, result))
    ended = client.get(f"/v1/operations/{operation}").json()
    assert (ended["state"], ended["done"], ended["progress"]) == ("succeeded", True, 1)
    assert RFC_3339.fullmatch(ended["finished_at"])
    [told] = ended["result"].pop("findings")
    assert told == finding.to_json() | {"remedy": f"POST /v1/checkpoints/{made}/recalibrate"}
    assert ended["result"] == {"checkpoint": made, "before": {}, "after": {}}


def test_a_failure_says_why(client: httpx.Client, service: Any, original: str) -> None:
    operation = recalibrate(client, original)["id"]
    epoch = claimed(service, operation)
    error = {"cause": "user", "reason": "INPUT_INVALID", "message": "Row 3 is bad."}
    service.database.write(lambda c: operation_claims.fail(c, operation, epoch, error))
    found = client.get(f"/v1/operations/{operation}").json()
    assert (found["state"], found["done"], found["error"]) == ("failed", True, error)


def test_operations_are_listed_newest_first_and_by_checkpoint(
    client: httpx.Client, service: Any, original: str
) -> None:
    other = service.train(norm="batch")["checkpoint"]
    made = [recalibrate(client, original)["id"] for _ in range(3)]
    foreign = recalibrate(client, other)["id"]
    every = client.get("/v1/operations", params={"limit": 4}).json()
    assert [one["id"] for one in every["data"]] == [foreign, *made[::-1]]
    of = {"checkpoint": original, "limit": 2}
    first = client.get("/v1/operations", params=of).json()
    rest = client.get("/v1/operations", params=of | {"after": first["last_id"]}).json()
    assert [one["id"] for one in first["data"] + rest["data"]] == made[::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    bad = client.get("/v1/operations", params=of | {"after": foreign})
    assert (bad.status_code, bad.json()["reason"]) == (400, "BAD_CURSOR")


def test_an_operation_goes_with_its_checkpoint(
    client: httpx.Client, service: Any, original: str
) -> None:
    revision = service.add_revision(original)
    operation = recalibrate(client, revision)["id"]
    epoch = claimed(service, operation)
    error = {"cause": "user", "reason": "X", "message": "x"}
    service.database.write(lambda c: operation_claims.fail(c, operation, epoch, error))
    assert client.delete(f"/v1/checkpoints/{revision}").status_code == 204
    answer = client.get(f"/v1/operations/{operation}")
    assert (answer.status_code, answer.json()["reason"]) == (404, "OPERATION_NOT_FOUND")
