"""Revisions over HTTP: the same weights with other statistics, listed and deleted."""

from typing import Any

import httpx
import pytest

from core import models, operations
from core.operations import NewOperation
from model.findings import Finding


@pytest.fixture
def original(service: Any) -> str:
    """A checkpoint of a run of its own."""
    checkpoint: str = service.train(norm="batch")["checkpoint"]
    return checkpoint


def listed(client: httpx.Client, path: str, **query: Any) -> list[str]:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["data"]]


def test_a_revision_says_whose_weights_it_has_and_how_it_was_made(
    client: httpx.Client, service: Any, original: str
) -> None:
    revision = service.add_revision(original, name="tuned")
    found = client.get(f"/v1/checkpoints/{revision}").json()
    before = client.get(f"/v1/checkpoints/{original}").json()
    assert (found["revision_of"], found["name"]) == (original, "tuned")
    assert found["made_by"] == {"method": "precise", "seed": 0}
    assert (before["revision_of"], before["name"], before["made_by"]) == (None, None, None)
    assert found["metrics"] == {"test_accuracy": 0.75}
    assert found["statistics"]["fingerprint"] != before["statistics"]["fingerprint"]
    for same in ("run", "step", "spec"):
        assert found[same] == before[same]
    assert (found["import"], before["import"]) == (None, None)


def test_what_was_found_of_its_statistics_names_the_checkpoint_in_every_remedy(
    client: httpx.Client, service: Any, original: str
) -> None:
    remedy = "send POST /v1/checkpoints/{id}/recalibrate"
    finding = Finding("BN_STATS_LAG", "warning", "1", {"share": 0.5}, remedy)
    revision = service.add_revision(original, findings=[finding.to_json()])
    [found] = client.get(f"/v1/checkpoints/{revision}").json()["findings"]
    assert found == finding.to_json() | {
        "remedy": f"send POST /v1/checkpoints/{revision}/recalibrate"
    }
    assert client.get(f"/v1/checkpoints/{original}").json()["findings"] == []


def test_revisions_are_listed_with_their_weights_and_with_their_run(
    client: httpx.Client, service: Any, original: str
) -> None:
    made = [service.add_revision(original, shift) for shift in (1, 2, 3)]
    run = client.get(f"/v1/checkpoints/{original}").json()["run"]
    path = f"/v1/checkpoints/{original}/revisions"
    assert listed(client, path) == made[::-1]
    assert listed(client, f"/v1/checkpoints/{made[0]}/revisions") == made[::-1]
    assert listed(client, path, limit=2) == made[:0:-1]
    assert listed(client, path, limit=2, after=made[1]) == made[:1]
    assert listed(client, f"/v1/runs/{run}/checkpoints") == [*made[::-1], original]
    foreign = client.get(path, params={"after": original})
    assert (foreign.status_code, foreign.json()["reason"]) == (400, "BAD_CURSOR")


def test_a_revision_is_deleted_with_its_file_and_its_weights_stay(
    client: httpx.Client, service: Any, original: str, stored: Any
) -> None:
    files = stored(service)
    revision = service.add_revision(original)
    assert stored(service) != files
    answer = client.delete(f"/v1/checkpoints/{revision}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert stored(service) == files
    assert client.get(f"/v1/checkpoints/{revision}").status_code == 404
    assert client.delete(f"/v1/checkpoints/{revision}").json()["reason"] == "CHECKPOINT_NOT_FOUND"
    assert client.get(f"/v1/checkpoints/{original}/download").status_code == 200


def test_a_run_is_deleted_with_the_files_of_its_revisions(
    client: httpx.Client, service: Any, stored: Any
) -> None:
    files = stored(service)
    run = service.train(norm="batch")
    service.add_revision(run["checkpoint"])
    assert client.delete(f"/v1/runs/{run['id']}").status_code == 204
    assert stored(service) == files


def test_what_a_run_trained_goes_with_the_run_alone(client: httpx.Client, original: str) -> None:
    answer = client.delete(f"/v1/checkpoints/{original}")
    assert (answer.status_code, answer.json()["reason"]) == (409, "CHECKPOINT_OF_RUN")
    assert client.get(f"/v1/checkpoints/{original}").status_code == 200


def test_what_a_model_serves_or_an_operation_works_on_stays(
    client: httpx.Client, service: Any, original: str
) -> None:
    served, worked_on = service.add_revision(original), service.add_revision(original)
    service.database.write(lambda c: models.put(c, "in-use", served))
    new = NewOperation("recalibrate", {}, worked_on)
    operation = service.database.write(lambda c: operations.submit(c, new, 10**6)).operation.id
    for revision, named in ((served, {"models": ["in-use"]}), (worked_on, {})):
        answer = client.delete(f"/v1/checkpoints/{revision}")
        assert (answer.status_code, answer.json()["reason"]) == (409, "CHECKPOINT_IN_USE")
        assert answer.json()["metadata"] | named == answer.json()["metadata"]
    assert answer.json()["metadata"]["operations"] == [operation]
