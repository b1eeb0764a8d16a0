"""Recalibrations and transplants over HTTP: what is queued, and what is refused by its field."""

import json
from typing import Any

import httpx
import numpy as np
import pytest

from core import operations
from core.operations import Operation
from core.settings import Settings
from model.data.builtin import build

DEFAULTS = {
    "method": "precise",
    "batch_rows": None,
    "seed": 0,
    "momentum": None,
    "source_rows": 16.0,
    "name": None,
    "rows": None,
    "rows_key": None,
}


@pytest.fixture(scope="module")
def digits(service: Any) -> str:
    """Of 64 numbers a row; its dataset is here."""
    checkpoint: str = service.train(norm="batch")["checkpoint"]
    return checkpoint


@pytest.fixture(scope="module")
def plain(service: Any) -> str:
    """Without batch norm."""
    checkpoint: str = service.train(norm="none")["checkpoint"]
    return checkpoint


def ask(client: httpx.Client, checkpoint: str, what: str = "recalibrate", **body: Any) -> Any:
    return client.post(f"/v1/checkpoints/{checkpoint}/{what}", json=body)


def queued(client: httpx.Client, service: Any, checkpoint: str, **body: Any) -> Operation:
    answer = ask(client, checkpoint, **body)
    assert answer.status_code == 202, answer.text
    operation: Operation = service.database.read(lambda c: operations.get(c, answer.json()["id"]))
    return operation


def test_nothing_asked_is_precise_on_the_own_training_rows(
    client: httpx.Client, service: Any, digits: str
) -> None:
    found = queued(client, service, digits)
    assert found.params == DEFAULTS
    assert (found.kind, found.checkpoint_id, found.dataset_id) == (
        "recalibrate",
        digits,
        "ds_digits",
    )
    assert (found.device, found.threads) == ("auto", 1)


def test_what_is_asked_is_what_the_worker_reads(
    client: httpx.Client, service: Any, digits: str
) -> None:
    body = {"method": "ema", "rows": 500, "batch_rows": 2, "seed": 3, "momentum": 0.5}
    found = queued(client, service, digits, **body, name="slow", device="cpu", threads=2)
    assert found.params == DEFAULTS | body | {"name": "slow"}
    assert (found.device, found.threads) == ("cpu", 2)
    adapt = queued(client, service, digits, method="adapt", source_rows=8, rows=1)
    assert adapt.params == DEFAULTS | {"method": "adapt", "source_rows": 8, "rows": 1}


def test_rows_that_are_sent_lie_in_the_store_as_they_were(
    client: httpx.Client, service: Any, digits: str
) -> None:
    rows = build("digits").inputs[:7] + 0.1
    found = queued(client, service, digits, rows=rows.tolist())
    assert (found.dataset_id, found.params["rows"]) == (None, None)
    path = service.files.local(found.params["rows_key"])
    stored = np.load(path, allow_pickle=False)
    assert found.params["rows_key"].startswith("rows/")
    np.testing.assert_array_equal(stored, np.float64(rows))


@pytest.mark.usefixtures("lost_answers")
def test_rows_stay_where_their_operation_may_have_been_accepted(
    client: httpx.Client, service: Any, digits: str
) -> None:
    answer = ask(client, digits, rows=build("digits").inputs[:7].tolist())
    assert answer.status_code == 503
    newest = service.database.read(lambda c: operations.page(c, digits, limit=1)).data[0]
    assert service.files.local(newest.params["rows_key"]).exists()


def test_rows_of_images_may_come_flat(client: httpx.Client, service: Any, npz: Any) -> None:
    images = np.arange(20 * 6, dtype=np.uint8).reshape(20, 1, 2, 3)
    files = {"file": npz(inputs=images, targets=np.arange(20) % 2)}
    name = client.post("/v1/datasets?name=tiny&format=npz", files=files).json()["id"]
    checkpoint = service.train(norm="batch", dataset=name, batch_size=4, network=FLAT)["checkpoint"]
    found = queued(client, service, checkpoint, rows=images.reshape(20, 6).tolist())
    stored = np.load(service.files.local(found.params["rows_key"]), allow_pickle=False)
    np.testing.assert_array_equal(stored, images)


FLAT = {
    "kind": "layers",
    "layers": [
        {"kind": "flatten"},
        {"kind": "linear", "out_features": 5},
        {"kind": "norm"},
        {"kind": "activation", "activation": "relu"},
        {"kind": "linear", "out_features": 2},
    ],
}


def test_rows_of_another_dataset_of_the_same_shape_may_be_used(
    client: httpx.Client, service: Any, digits: str, npz: Any
) -> None:
    files = {"file": npz(inputs=np.zeros((9, 64)), targets=np.arange(9) % 2)}
    other = client.post("/v1/datasets?name=shifted&format=npz", files=files).json()["id"]
    for name in (other, "shifted"):
        assert queued(client, service, digits, dataset=name, rows=9).dataset_id == other
    beyond = ask(client, digits, dataset=other, rows=10)
    assert (beyond.status_code, beyond.json()["errors"][0]["path"]) == (422, "rows")
    in_use = client.delete(f"/v1/datasets/{other}")
    assert in_use.json()["reason"] == "DATASET_IN_USE"


#: A million values a row, of which a few live at a time.
WIDE = {
    "kind": "layers",
    "layers": [
        {"kind": "conv2d", "out_channels": 8_192, "kernel_size": 1},
        {"kind": "norm"},
        {"kind": "pool", "pool": "global_avg"},
        {"kind": "flatten"},
        {"kind": "linear"},
    ],
}


@pytest.mark.parametrize("method", ["precise", "pooled"])
def test_batches_that_take_more_memory_than_a_run_may_are_refused(
    client: httpx.Client, service: Any, npz: Any, method: str
) -> None:
    images = np.zeros((600, 1, 12, 12), np.uint8)
    files = {"file": npz(inputs=images, targets=np.arange(600) % 2)}
    name = client.post("/v1/datasets?name=wide&format=npz", files=files).json()["id"]
    wide = service.train(norm="batch", dataset=name, batch_size=4, network=WIDE)["checkpoint"]
    all_at_once = {"method": method, "batch_rows": 1_000_000}
    for more in ({}, {"rows": images.reshape(600, 144).tolist()}):
        answer = ask(client, wide, **all_at_once, **more)
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "batch_rows")
    assert ask(client, wide, **all_at_once, rows=32).status_code == 202
    assert ask(client, wide, method=method).status_code == 202


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown method": ({"method": "magic"}, "method"),
    "an unknown field": ({"labels": {}}, "labels"),
    "momentum of another method": ({"momentum": 0.1}, "momentum"),
    "momentum 0": ({"method": "ema", "momentum": 0}, "momentum"),
    "momentum -1": ({"method": "ema", "momentum": -1}, "momentum"),
    "momentum 2": ({"method": "ema", "momentum": 2}, "momentum"),
    "source_rows of another method": ({"source_rows": 16}, "source_rows"),
    "negative source_rows": ({"method": "adapt", "source_rows": -1}, "source_rows"),
    "batches of 0": ({"batch_rows": 0}, "batch_rows"),
    "batches of 1, pooled": ({"method": "pooled", "batch_rows": 1}, "batch_rows"),
    "batches of 1, ema": ({"method": "ema", "batch_rows": 1}, "batch_rows"),
    "batches of 1.0": ({"batch_rows": 1.0}, "batch_rows"),
    "a negative seed": ({"seed": -1}, "seed"),
    "a seed of 2**63": ({"seed": 2**63}, "seed"),
    "true for a number of rows": ({"rows": True}, "rows"),
    "text for rows": ({"rows": "all"}, "rows"),
    "1.5 rows": ({"rows": 1.5}, "rows"),
    "no rows": ({"rows": 0}, "rows"),
    "one row": ({"rows": 1}, "rows"),
    "no rows to adapt to": ({"method": "adapt", "rows": 0}, "rows"),
    "more than the training rows": ({"rows": 1439}, "rows"),
    "2**70 rows": ({"rows": 2**70}, "rows"),
    "an empty list": ({"rows": []}, "rows"),
    "one row sent": ({"rows": [[0] * 64]}, "rows"),
    "a narrow row": ({"rows": [[0] * 64, [0] * 63]}, "rows.1"),
    "words in a row": ({"rows": [[0] * 64, ["a"] * 64]}, "rows.1"),
    "true in a row": ({"rows": [[True] * 64, [0] * 64]}, "rows.0"),
    "beyond float32": ({"rows": [[0] * 64, [1e300] * 64]}, "rows.1"),
    "rows and a dataset": ({"rows": [[0] * 64] * 2, "dataset": "digits"}, "dataset"),
    "a dataset that is a path": ({"dataset": "../x"}, "dataset"),
    "a dataset of another shape": ({"dataset": "wine"}, "dataset"),
    "a name that is none": ({"name": "a/b"}, "name"),
    "an empty name": ({"name": ""}, "name"),
    "cuda:1": ({"device": "cuda:1"}, "device"),
    "no threads": ({"threads": 0}, "threads"),
}


@pytest.mark.parametrize(("body", "path"), BAD.values(), ids=BAD)
def test_what_cannot_work_is_refused_by_its_field_and_leaves_nothing(
    client: httpx.Client,
    service: Any,
    digits: str,
    stored: Any,
    body: dict[str, Any],
    path: str,
) -> None:
    files, newest = stored(service), client.get("/v1/operations?limit=1").json()["last_id"]
    answer = ask(client, digits, **body)
    assert answer.status_code == 422, answer.text
    assert [error["path"] for error in answer.json()["errors"]] == [path]
    assert stored(service) == files
    assert client.get("/v1/operations?limit=1").json()["last_id"] == newest


def test_a_dataset_that_is_not_there_is_named(client: httpx.Client, digits: str) -> None:
    problem = ask(client, digits, dataset="nowhere").json()
    assert (problem["status"], problem["reason"]) == (422, "DATASET_NOT_FOUND")
    assert [error["path"] for error in problem["errors"]] == ["dataset"]


def test_an_own_dataset_that_was_deleted_is_named(
    client: httpx.Client, service: Any, npz: Any
) -> None:
    files = {"file": npz(inputs=np.arange(60.0).reshape(20, 3), targets=np.arange(20) % 2)}
    name = client.post("/v1/datasets?name=gone&format=npz", files=files).json()["id"]
    checkpoint = service.train(norm="batch", dataset=name, batch_size=4)["checkpoint"]
    assert client.delete(f"/v1/datasets/{name}").status_code == 204
    problem = ask(client, checkpoint).json()
    assert (problem["status"], problem["reason"]) == (422, "DATASET_NOT_FOUND")
    assert [error["path"] for error in problem["errors"]] == ["dataset"]
    assert ask(client, checkpoint, rows=[[1, 2, 3], [4, 5, 6]]).status_code == 202


@pytest.mark.parametrize("what", ["recalibrate", "revisions"])
def test_a_network_without_batch_norm_has_nothing_to_renew(
    client: httpx.Client, plain: str, digits: str, what: str
) -> None:
    body = {} if what == "recalibrate" else {"statistics_from": digits}
    problem = ask(client, plain, what, **body).json()
    assert (problem["status"], problem["reason"]) == (422, "NO_BATCH_NORM")


def test_the_statistics_of_an_lp_norm_cannot_be_recalibrated_but_may_be_exchanged(
    client: httpx.Client, service: Any
) -> None:
    one, other = (service.train(passes=passes, norm="lp")["checkpoint"] for passes in (3, 5))
    problem = ask(client, one).json()
    assert (problem["status"], problem["reason"]) == (422, "NO_BATCH_NORM")
    assert [error["path"] for error in problem["errors"]] == ["checkpoint"]
    assert "l_p norm come from training alone" in problem["detail"]
    assert ask(client, one, "revisions", statistics_from=other).status_code == 202


@pytest.mark.parametrize("kind", ["noisy_batch", "ghost_batch", "batch_renorm"])
def test_the_statistics_of_every_batch_norm_can_be_recalibrated(
    client: httpx.Client, service: Any, kind: str
) -> None:
    assert ask(client, service.train(norm=kind)["checkpoint"]).status_code == 202


def test_a_name_that_is_taken_is_told_at_once(
    client: httpx.Client, service: Any, digits: str
) -> None:
    revision = service.add_revision(digits, name="taken")
    other = service.add_revision(service.train(norm="batch")["checkpoint"])
    for checkpoint in (digits, revision):
        for what, body in (("recalibrate", {}), ("revisions", {"statistics_from": other})):
            answer = ask(client, checkpoint, what, **body, name="taken")
            assert (answer.status_code, answer.json()["reason"]) == (409, "REVISION_NAME_TAKEN")
            assert answer.json()["metadata"] == {"checkpoint": revision}


def test_a_transplant_names_whose_statistics_it_takes(
    client: httpx.Client, service: Any, digits: str
) -> None:
    donor = service.train(norm="batch")["checkpoint"]
    answer = ask(client, digits, "revisions", statistics_from=donor, name="b")
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/operations/{answer.json()['id']}"
    found = service.database.read(lambda c: operations.get(c, answer.json()["id"]))
    assert (found.kind, found.checkpoint_id, found.dataset_id) == ("transplant", digits, None)
    assert found.params == {"statistics_from": donor, "name": "b"}


def test_a_transplant_from_another_network_is_refused(
    client: httpx.Client, service: Any, digits: str, plain: str
) -> None:
    wider = service.train(norm="batch", network={"kind": "mlp", "hidden": [6]})["checkpoint"]
    nothing = f"ckpt_{'0' * 32}"
    for donor in (wider, plain, digits, nothing, "x", None):
        answer = ask(client, digits, "revisions", statistics_from=donor)
        assert answer.status_code == 422
        assert [error["path"] for error in answer.json()["errors"]] == ["statistics_from"]


@pytest.mark.parametrize("what", ["recalibrate", "revisions"])
def test_a_repeated_key_gives_the_same_operation_again(
    client: httpx.Client, service: Any, digits: str, what: str
) -> None:
    donor = service.train(norm="batch")["checkpoint"]
    body = {"name": f"once-{what}"} | ({} if what == "recalibrate" else {"statistics_from": donor})
    path, headers = f"/v1/checkpoints/{digits}/{what}", {"Idempotency-Key": "once"}
    first = client.post(path, json=body, headers=headers)
    # What the first one makes has its name, which must not stand in the way of the answer.
    service.add_revision(digits, name=body["name"])
    second = client.post(path, json=dict(reversed(body.items())), headers=headers)
    assert (second.status_code, second.json()) == (202, first.json())
    assert second.headers["idempotent-replay"] == "true"
    assert "idempotent-replay" not in first.headers
    other = client.post(path, json=body | {"name": "other"}, headers=headers)
    assert (other.status_code, other.json()["reason"]) == (422, "IDEMPOTENCY_MISMATCH")


def test_rows_that_are_sent_again_are_stored_once(
    client: httpx.Client, service: Any, digits: str, stored: Any
) -> None:
    path, headers = f"/v1/checkpoints/{digits}/recalibrate", {"Idempotency-Key": "rows"}
    body = {"rows": [[1] * 64, [2] * 64]}
    first = client.post(path, json=body, headers=headers)
    files = stored(service)
    second = client.post(path, json=body, headers=headers)
    assert second.json()["id"] == first.json()["id"]
    assert stored(service) == files
    other = client.post(path, json={"rows": [[1] * 64, [3] * 64]}, headers=headers)
    assert (other.status_code, other.json()["reason"]) == (422, "IDEMPOTENCY_MISMATCH")
    assert stored(service) == files


TEXT: dict[str, tuple[bytes, int, str]] = {
    "no JSON": (b"{", 400, "MALFORMED_JSON"),
    "NaN": (b'{"rows": [[NaN]]}', 400, "MALFORMED_JSON"),
    "1e999 rows": (b'{"rows": 1e999}', 400, "MALFORMED_JSON"),
    "1e999 in a row": (
        json.dumps({"rows": [[0.5] * 64] * 2}).replace("0.5", "1e999", 1).encode(),
        400,
        "MALFORMED_JSON",
    ),
    "momentum 1e999": (b'{"method": "ema", "momentum": 1e999}', 400, "MALFORMED_JSON"),
    "twice": (b'{"seed": 1, "seed": 2}', 400, "MALFORMED_JSON"),
    "too deep": (b'{"rows": ' + b"[" * 100_000, 400, "MALFORMED_JSON"),
    "a list": (b"[]", 422, "VALIDATION_FAILED"),
    "too many rows": (b'{"rows": [' + b"[1]," * 10_000 + b"[1]]}", 413, "TOO_MANY_ROWS"),
    "40 MB": (b" " * 40_000_000, 413, "BODY_TOO_LARGE"),
}


@pytest.mark.parametrize(("body", "status", "reason"), TEXT.values(), ids=TEXT)
def test_a_bad_body_has_its_answer(
    client: httpx.Client, digits: str, body: bytes, status: int, reason: str
) -> None:
    headers = {"Content-Type": "application/json"}
    path = f"/v1/checkpoints/{digits}/recalibrate"
    answer = client.post(path, content=body, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    typed = client.post(path, content=b"{}", headers={"Content-Type": "text/plain"})
    assert typed.status_code == 415


def test_how_many_rows_may_be_sent_is_told(client: httpx.Client) -> None:
    assert client.get("/v1/capabilities").json()["limits"]["recalibration_rows"] == 10_000


def test_a_refusal_for_want_of_room_leaves_no_rows(
    serve: Any, shared_redis: Any, tmp_path: Any, stored: Any
) -> None:
    settings = Settings(
        data=tmp_path, port=0, broker_url=shared_redis.url, min_free_bytes=0, queue_limit=1
    )
    with serve(settings) as service, httpx.Client(base_url=service.url) as client:
        checkpoint = service.train(norm="batch")["checkpoint"]
        assert ask(client, checkpoint).status_code == 202
        files = stored(service)
        answer = ask(client, checkpoint, rows=[[1] * 64, [2] * 64])
        assert (answer.status_code, answer.json()["reason"]) == (503, "QUEUE_FULL")
        assert stored(service) == files
