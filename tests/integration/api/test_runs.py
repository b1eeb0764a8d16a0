"""Runs over HTTP, from submission to deletion."""

import re
from typing import Any

import httpx
import pytest

from core import claims
from core.metrics import Point

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
FIELDS = {"id", "object", "name", "state", "outcome", "spec", "spec_hash", "progress"}
FIELDS |= {"metrics", "checkpoint", "error", "attempts", "device", "labels"}
FIELDS |= {"created_at", "started_at", "finished_at"}
SPEC: dict[str, Any] = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [5]}}


def test_a_run_is_accepted_with_every_field_of_the_contract(client: httpx.Client) -> None:
    answer = client.post("/v1/runs", json=SPEC | {"name": "a", "labels": {"arm": "bn"}})
    run = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/runs/{run['id']}"
    assert "idempotent-replay" not in answer.headers
    assert set(run) >= FIELDS
    assert re.fullmatch("run_[0-9a-f]{32}", run["id"])
    assert (run["object"], run["state"], run["name"]) == ("run", "queued", "a")
    assert run["labels"] == {"arm": "bn"}
    assert run["spec"]["loss"] == {"kind": "cross_entropy"}
    assert run["spec"]["budget"] == {"epochs": 20}
    assert run["progress"] == {
        "step": 0,
        "steps": 900,
        "fraction": 0.0,
        "steps_per_second": None,
        "eta_seconds": None,
        "updated_at": None,
    }
    assert RFC_3339.fullmatch(run["created_at"])
    assert client.get(answer.headers["location"]).json() == run


def test_validating_queues_nothing_and_tells_everything(client: httpx.Client) -> None:
    before = client.get("/v1/runs?limit=1").json()["last_id"]
    asked = {"validate_only": "true"}
    answer = client.post("/v1/runs", json=SPEC | {"norm": "batch"}, params=asked)
    found = answer.json()
    assert (answer.status_code, found["object"]) == (200, "validation")
    assert found["parameters"] == 64 * 5 + 5 + 2 * 5 + 5 * 10 + 10
    assert found["memory_bytes"] == sum(found["memory"].values())
    assert found["steps"] == 900
    assert [size["output_shape"] for size in found["spec"]["sizes"]] == [[5], [5], [5], [10]]
    assert found["findings"][0]["reason"] == "BN_BIAS_REDUNDANT"
    assert client.get("/v1/runs?limit=1").json()["last_id"] == before
    submitted = client.post("/v1/runs", json=SPEC | {"norm": "batch"}).json()
    assert submitted["spec_hash"] == found["spec_hash"]
    assert submitted["findings"] == found["findings"]


def test_a_built_in_dataset_gives_one_hash_by_name_and_by_id(service: Any) -> None:
    by_name, by_id = (service.submit(dataset=name) for name in ("digits", "ds_digits"))
    assert by_id["spec"]["dataset"] == "digits"
    assert by_id["spec_hash"] == by_name["spec_hash"]


def test_a_run_for_cuda_is_told_that_it_waits_for_a_gpu_worker(service: Any) -> None:
    found = service.submit(device="cuda")["findings"]
    assert "NO_GPU_WORKER" in [finding["reason"] for finding in found]


def test_a_repeated_key_gives_the_same_run_again(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "test-repeat"}
    first = client.post("/v1/runs", json=SPEC, headers=headers)
    second = client.post("/v1/runs", json=dict(reversed(SPEC.items())), headers=headers)
    assert second.status_code == 202
    assert second.json()["id"] == first.json()["id"]
    assert second.headers["idempotent-replay"] == "true"
    assert second.headers["location"] == first.headers["location"]
    third = client.post("/v1/runs", json=SPEC | {"seed": 1}, headers=headers)
    assert (third.status_code, third.json()["reason"]) == (422, "IDEMPOTENCY_MISMATCH")


def test_validating_does_not_use_a_key_up(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "test-validate"}
    client.post("/v1/runs?validate_only=true", json=SPEC, headers=headers)
    answer = client.post("/v1/runs", json=SPEC | {"seed": 1}, headers=headers)
    assert answer.status_code == 202


def test_pages_are_newest_first_and_do_not_overlap(client: httpx.Client) -> None:
    label = {"labels": {"test": "pages"}}
    made = [client.post("/v1/runs", json=SPEC | label).json()["id"] for _ in range(5)]
    found, after = [], None
    while True:
        params = {"limit": 2, "label.test": "pages"} | ({"after": after} if after else {})
        page = client.get("/v1/runs", params=params).json()
        assert page["object"] == "list"
        assert page["last_id"] == page["data"][-1]["id"]
        found += [run["id"] for run in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert found == made[::-1]


def test_filters_must_all_match(client: httpx.Client) -> None:
    both = {"labels": {"test": "filters", "arm": "bn"}}
    one = {"labels": {"test": "filters"}}
    run = client.post("/v1/runs", json=SPEC | both).json()["id"]
    client.post("/v1/runs", json=SPEC | one)
    params = {"label.test": "filters", "label.arm": "bn", "state": "queued"}
    page = client.get("/v1/runs", params=params).json()
    assert [found["id"] for found in page["data"]] == [run]
    assert client.get("/v1/runs", params=params | {"state": "failed"}).json() == {
        "object": "list",
        "data": [],
        "has_more": False,
        "last_id": None,
    }


def test_repeating_a_move_is_202_and_a_forbidden_one_names_the_state(client: httpx.Client) -> None:
    run = f"/v1/runs/{client.post('/v1/runs', json=SPEC).json()['id']}"

    def move(name: str) -> tuple[int, Any]:
        answer = client.post(f"{run}/{name}")
        body = answer.json()
        return answer.status_code, body.get("state") or body["metadata"]["state"]

    moves = ["pause", "pause", "resume", "resume", "pause", "cancel", "cancel"]
    states = ["paused", "paused", "queued", "queued", "paused", "cancelled", "cancelled"]
    assert [move(name) for name in moves] == [(202, state) for state in states]
    assert move("pause") == move("resume") == (409, "cancelled")
    assert client.post(f"{run}/pause").json()["reason"] == "MOVE_FORBIDDEN"


def test_an_unfinished_run_is_not_deleted_and_an_ended_one_goes_with_its_files(
    client: httpx.Client, service: Any, stored: Any
) -> None:
    waiting = service.submit()["id"]
    assert client.delete(f"/v1/runs/{waiting}").status_code == 409
    ended = service.train()
    run = f"/v1/runs/{ended['id']}"
    assert any(ended["id"] in path for path in stored(service))
    answer = client.delete(run)
    assert (answer.status_code, answer.content) == (204, b"")
    assert not any(ended["id"] in path for path in stored(service))
    for path in (run, f"{run}/events", f"{run}/metrics", f"{run}/checkpoints"):
        assert client.get(path).json()["reason"] == "RUN_NOT_FOUND"
    assert client.get(f"/v1/checkpoints/{ended['checkpoint']}").status_code == 404
    assert client.delete(run).status_code == 404


def test_a_training_run_shows_its_progress(client: httpx.Client, service: Any) -> None:
    run_id = service.submit()["id"]
    epoch = service.claim(run_id)
    points = [Point("train_loss", 90, 0.5), Point("test_accuracy", 90, 0.9)]
    report = claims.Report(90, 10.0, points)
    service.database.write(lambda c: claims.report(c, run_id, epoch, report))
    run = client.get(f"/v1/runs/{run_id}").json()
    assert (run["state"], run["attempts"], run["device"]) == ("running", 1, "cpu")
    assert RFC_3339.fullmatch(run["started_at"])
    assert RFC_3339.fullmatch(run["progress"].pop("updated_at"))
    assert run["progress"] == {
        "step": 90,
        "steps": 900,
        "fraction": 0.1,
        "steps_per_second": 10.0,
        "eta_seconds": 81.0,
    }
    loss = {"last": 0.5, "best": 0.5, "step": 90, "last_not_finite": None}
    assert run["metrics"]["train_loss"] == loss


def test_metrics_that_are_not_finite_are_null_and_named(client: httpx.Client, service: Any) -> None:
    run_id = service.submit()["id"]
    epoch = service.claim(run_id)
    points = [Point("train_loss", step, float("nan") if step == 3 else step) for step in (1, 2, 3)]
    report = claims.Report(3, 10.0, points)
    service.database.write(lambda c: claims.report(c, run_id, epoch, report))
    assert client.get(f"/v1/runs/{run_id}").json()["metrics"]["train_loss"] == {
        "last": None,
        "best": 1.0,
        "step": 3,
        "last_not_finite": "nan",
    }
    assert client.get(f"/v1/runs/{run_id}/metrics").json() == {
        "object": "metrics",
        "series": {
            "train_loss": {
                "steps": [1, 2, 3],
                "values": [1.0, 2.0, None],
                "sampled": False,
                "of": 3,
                "not_finite": [None, None, "nan"],
            }
        },
    }


def test_series_are_chosen_cut_and_sampled_and_say_so(client: httpx.Client, service: Any) -> None:
    run_id = service.submit()["id"]
    epoch = service.claim(run_id)
    points = [Point(name, step, step) for name in ("a", "b") for step in range(100)]
    report = claims.Report(100, 10.0, points)
    service.database.write(lambda c: claims.report(c, run_id, epoch, report))

    def series(**params: Any) -> Any:
        return client.get(f"/v1/runs/{run_id}/metrics", params=params).json()["series"]

    assert set(series()) == set(series(names="")) == {"a", "b"}
    assert set(series(names="b,unknown")) == {"b"}
    assert series(names="a", from_step=98)["a"]["steps"] == [98, 99]
    few = series(names="a", max_points=3)["a"]
    assert (few["steps"], few["sampled"], few["of"]) == ([0, 50, 99], True, 100)


def test_a_failed_run_says_why(client: httpx.Client, service: Any) -> None:
    run_id = service.submit()["id"]
    epoch = service.claim(run_id)
    error = {"cause": "infra", "reason": "OUT_OF_MEMORY", "message": "No memory was left."}
    service.database.write(lambda c: claims.fail(c, run_id, epoch, error))
    run = client.get(f"/v1/runs/{run_id}").json()
    assert (run["state"], run["outcome"], run["error"]) == ("failed", None, error)
    assert RFC_3339.fullmatch(run["finished_at"])


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_a_device_that_is_not_there_yet_is_waited_for(client: httpx.Client, device: str) -> None:
    answer = client.post("/v1/runs", json=SPEC | {"device": device})
    assert (answer.status_code, answer.json()["device"]) == (202, device)
