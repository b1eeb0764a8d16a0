"""Predictions over HTTP with the checkpoint of a run."""

import io
import json
import threading
import time
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from core.settings import Settings

ROWS = np.random.RandomState(0).uniform(0, 16, (6, 64)).astype(np.float32)


@pytest.fixture
def path(trained: dict[str, Any]) -> str:
    return f"/v1/runs/{trained['id']}/predict"


def npy(rows: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()


def test_every_form_of_the_same_rows_is_answered_alike(client: httpx.Client, path: str) -> None:
    def send(kind: str, body: bytes, **headers: str) -> Any:
        headers = {"Content-Type": kind} | {k.replace("_", "-"): v for k, v in headers.items()}
        answer = client.post(path, content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    as_json = send("application/json", json.dumps({"inputs": ROWS.tolist()}).encode())
    assert send("application/octet-stream", ROWS.tobytes(), X_Shape="6,64") == as_json
    assert send("application/octet-stream", npy(ROWS)) == as_json
    assert send("application/x-npy", npy(ROWS)) == as_json
    assert send("application/npy; charset=utf-8", npy(ROWS)) == as_json


def test_the_answer_has_every_field_of_the_contract(
    client: httpx.Client, sound: dict[str, Any]
) -> None:
    asked = {"inputs": ROWS.tolist(), "return": ["probabilities", "logits"]}
    answer = client.post(f"/v1/runs/{sound['id']}/predict", json=asked).json()
    assert len(answer["predictions"]) == len(answer["probabilities"]) == len(ROWS)
    for prediction, row in zip(answer["predictions"], answer["probabilities"], strict=True):
        assert prediction["index"] == int(np.argmax(row))
        assert prediction["label"] == str(prediction["index"])
        assert prediction["probability"] == max(row)
        assert abs(sum(row) - 1) < 1e-9
    checkpoint = client.get(f"/v1/checkpoints/{sound['checkpoint']}").json()
    assert answer["model"] == {
        "checkpoint": checkpoint["id"],
        "mode": "eval",
        "statistics": checkpoint["statistics"]["fingerprint"],
    }


def test_statistics_of_the_beginning_come_with_a_warning(
    client: httpx.Client, service: Any, trained: dict[str, Any]
) -> None:
    slow = service.train(passes=300, norm={"kind": "batch", "momentum": 0.001})
    for run, told in ((trained, "have seen 0 batches"), (slow, "trustworthy from step 2,995")):
        answer = client.post(f"/v1/runs/{run['id']}/predict", json={"inputs": ROWS.tolist()})
        [warning] = answer.json()["model"]["warnings"]
        assert warning["reason"] == "BN_STATS_LAG"
        assert told in warning["message"]


def test_another_revision_answers_when_it_is_named(client: httpx.Client, service: Any) -> None:
    run = service.train(passes=40, norm="batch")
    path, body = f"/v1/runs/{run['id']}/predict", {"inputs": ROWS.tolist(), "return": ["logits"]}
    revision = service.add_revision(run["checkpoint"], shift=2.0, name="moved")
    original = client.post(path, json=body).json()
    by_query = client.post(path, json=body, params={"revision": "moved"}).json()
    by_field = client.post(path, json=body | {"revision": "moved"}).json()
    both = client.post(path, json=body | {"revision": "moved"}, params={"revision": "moved"})
    assert by_query == by_field == both.json()
    assert by_query["logits"] != original["logits"]
    told = client.get(f"/v1/checkpoints/{revision}").json()
    assert by_query["model"] == {
        "checkpoint": revision,
        "mode": "eval",
        "statistics": told["statistics"]["fingerprint"],
        "revision": "moved",
    }
    headers = {"Content-Type": "application/x-npy"}
    raw = client.post(path, content=npy(ROWS), headers=headers, params={"revision": "moved"})
    assert raw.json()["predictions"] == by_query["predictions"]


@pytest.mark.parametrize("name", ["unknown", "", "\x00", "../x", "x" * 200])
def test_a_revision_that_is_not_there_is_not_found(
    client: httpx.Client, path: str, name: str
) -> None:
    body = {"inputs": ROWS.tolist()}
    answers = [
        client.post(path, json=body, params={"revision": name}),
        client.post(path, json=body | {"revision": name}),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["reason"]) == (404, "REVISION_NOT_FOUND")


def test_two_revisions_in_one_request_are_refused(client: httpx.Client, service: Any) -> None:
    run = service.train(norm="batch")
    for name in ("one", "two"):
        service.add_revision(run["checkpoint"], name=name)
    body = {"inputs": ROWS.tolist(), "revision": "two"}
    path = f"/v1/runs/{run['id']}/predict"
    answer = client.post(path, json=body, params={"revision": "one"})
    assert (answer.status_code, answer.json()["reason"]) == (422, "VALIDATION_FAILED")
    assert [error["path"] for error in answer.json()["errors"]] == ["revision"]
    assert client.post(path, json=body | {"revision": 1}).status_code == 422


def test_a_row_is_answered_alike_alone_in_any_order_and_company(
    client: httpx.Client, path: str
) -> None:
    def logits(rows: np.ndarray) -> Any:
        body = {"inputs": rows.tolist(), "return": ["logits"]}
        return np.array(client.post(path, json=body).json()["logits"])

    together = logits(ROWS)
    close = 1e-5 * np.abs(together).max()
    assert np.abs(logits(ROWS[::-1])[::-1] - together).max() <= close
    for row in range(len(ROWS)):
        alone = logits(ROWS[row : row + 1])[0]
        assert np.abs(alone - together[row]).max() <= close


def test_a_run_without_a_checkpoint_is_409_with_its_state(
    client: httpx.Client, service: Any
) -> None:
    run = service.submit()["id"]
    answer = client.post(f"/v1/runs/{run}/predict", json={"inputs": ROWS.tolist()})
    assert (answer.status_code, answer.json()["reason"]) == (409, "CHECKPOINT_NOT_READY")
    assert answer.json()["metadata"]["state"] == "queued"


def test_a_running_run_answers_with_its_newest_checkpoint(
    client: httpx.Client, service: Any
) -> None:
    run = service.submit(norm="batch")["id"]
    epoch = service.claim(run)
    for step in (1, 2):
        checkpoint = service.add_checkpoint(run, epoch, step)
        answer = client.post(f"/v1/runs/{run}/predict", json={"inputs": ROWS.tolist()}).json()
        assert answer["model"]["checkpoint"] == checkpoint


def test_a_regression_answers_numbers(client: httpx.Client, service: Any) -> None:
    run = service.train(dataset="gaussian_linear")["id"]
    answer = client.post(f"/v1/runs/{run}/predict", json={"inputs": [[0.0] * 10] * 2}).json()
    assert [len(one["values"]) for one in answer["predictions"]] == [10, 10]


def test_images_are_answered_where_images_were_trained_on(
    client: httpx.Client, service: Any, npz: Any
) -> None:
    pixels = np.random.RandomState(0).randint(0, 255, (20, 1, 4, 5)).astype(np.uint8)
    body = npz(inputs=pixels, targets=np.arange(20) % 2)
    url = "/v1/datasets?name=pictures&format=npz"
    assert client.post(url, files={"file": body}).status_code == 201
    run = service.train(dataset="pictures", batch_size=4)["id"]
    file = io.BytesIO()
    Image.fromarray(pixels[0, 0]).save(file, "PNG")
    headers = {"Content-Type": "image/png"}
    picture = client.post(f"/v1/runs/{run}/predict", content=file.getvalue(), headers=headers)
    numbers = client.post(f"/v1/runs/{run}/predict", json={"inputs": pixels[:1].tolist()})
    assert picture.json() == numbers.json()


def test_a_damaged_checkpoint_is_never_used(client: httpx.Client, service: Any) -> None:
    run = service.train()
    (key,) = [file.key for file in service.files.list(f"runs/{run['id']}")]
    path = service.files.local(key)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    answer = client.post(f"/v1/runs/{run['id']}/predict", json={"inputs": ROWS.tolist()})
    assert (answer.status_code, answer.json()["reason"]) == (422, "CHECKSUM_MISMATCH")


def test_ten_thousand_rows_are_answered_in_order(client: httpx.Client, path: str) -> None:
    rows = np.tile(ROWS, (1_666, 1))
    headers = {"Content-Type": "application/octet-stream", "X-Shape": f"{len(rows)},64"}
    many = client.post(path, content=rows.tobytes(), headers=headers).json()["predictions"]
    few = client.post(path, json={"inputs": ROWS.tolist()}).json()["predictions"]
    assert [one["index"] for one in many] == [one["index"] for one in few] * 1_666


def test_the_loop_stays_free_while_rows_are_answered(
    serve: Any, shared_redis: Any, tmp_path: Any
) -> None:
    settings = Settings(data=tmp_path, port=0, broker_url=shared_redis.url, min_free_bytes=0)
    with serve(settings) as service:
        run = service.train(network={"kind": "mlp", "hidden": [4096, 4096]})["id"]
        rows = np.tile(ROWS, (1_000, 1))
        headers = {"Content-Type": "application/octet-stream", "X-Shape": f"{len(rows)},64"}
        url = f"{service.url}/v1/runs/{run}/predict"
        content = rows.tobytes()
        asking = threading.Thread(
            target=lambda: httpx.post(url, content=content, headers=headers, timeout=60)
        )
        asking.start()
        waits = []
        with httpx.Client(base_url=service.url) as client:
            while asking.is_alive():
                started = time.monotonic()
                assert client.get("/health/live").status_code == 200
                waits.append(time.monotonic() - started)
        assert len(waits) > 5
        assert sorted(waits)[len(waits) // 2] < 0.1
