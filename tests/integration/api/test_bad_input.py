"""Bad input of every kind has its answer, none of them a 5xx, and none repeats the input."""

import json
import socket
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import pytest

from core.settings import Settings

SPEC: dict[str, Any] = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [5]}}
JSON = {"Content-Type": "application/json"}
SECRET = "s3cr3t"


@dataclass(frozen=True)
class Case:
    """A request and what it must be answered with."""

    status: int
    reason: str
    method: str = "POST"
    path: str = "/v1/runs"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))
    errors: tuple[str, ...] | None = None  # paths, where they matter


def spec(status: int, reason: str, *paths: str, **changes: Any) -> Case:
    body = json.dumps(SPEC | changes).encode()
    return Case(status, reason, body=body, errors=paths or None)


def invalid(path: str, **changes: Any) -> Case:
    return spec(422, "VALIDATION_FAILED", path, **changes)


def refused(path: str, **changes: Any) -> Case:
    return spec(422, "SPEC_REFUSED", path, **changes)


def malformed(body: bytes) -> Case:
    return Case(400, "MALFORMED_JSON", body=body)


def typed(kind: str | None, **more: str) -> Case:
    headers = ({"Content-Type": kind} if kind else {}) | more
    reason = "CONTENT_ENCODING_UNSUPPORTED" if more else "UNSUPPORTED_MEDIA_TYPE"
    return Case(415, reason, body=json.dumps(SPEC).encode(), headers=headers)


def get(status: int, reason: str, path: str, **headers: str) -> Case:
    return Case(status, reason, "GET", path, headers=headers)


def submitting(query: str, *paths: str) -> Case:
    body = json.dumps(SPEC).encode()
    return Case(422, "VALIDATION_FAILED", path=f"/v1/runs?{query}", body=body, errors=paths)


def keyed(key: str) -> Case:
    body = json.dumps(SPEC).encode()
    return Case(400, "IDEMPOTENCY_KEY_INVALID", body=body, headers=JSON | {"Idempotency-Key": key})


def layers(*given: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "layers", "layers": list(given)}


def in_spec(text: str) -> bytes:
    """A spec with raw JSON text as its seed."""
    return json.dumps(SPEC)[:-1].encode() + b', "seed": ' + text.encode() + b"}"


LINEAR = {"kind": "linear"}
WIDE = {"kind": "linear", "out_features": 65_536}
RUN = "/v1/runs/run_" + "0" * 32
CKPT = "/v1/checkpoints/ckpt_" + "0" * 32
MODEL = f"/v1/models/{SECRET}"
OPERATION = "/v1/operations/op_" + "0" * 32
REVISE = json.dumps({"statistics_from": "ckpt_" + "0" * 32}).encode()

TEXT = {
    "NaN": malformed(in_spec("NaN")),
    "Infinity": malformed(in_spec("Infinity")),
    "1e999": malformed(in_spec("1e999")),
    "5,000 digits": malformed(in_spec("9" * 5_000)),
    "duplicate keys": malformed(in_spec("1")[:-1] + b', "seed": 2}'),
    "invalid UTF-8": malformed(json.dumps(SPEC)[:-1].encode() + b', "name": "\xff"}'),
    "UTF-16": malformed(json.dumps(SPEC).encode("utf-16")),
    "lone surrogate": malformed(in_spec('"\\ud800"')),
    "100,000 nested arrays": malformed(b"[" * 100_000 + b"]" * 100_000),
    "empty": malformed(b""),
    "truncated": malformed(json.dumps(SPEC).encode()[:-1]),
    "a list": Case(422, "VALIDATION_FAILED", body=b"[]", errors=("body",)),
    "null": Case(422, "VALIDATION_FAILED", body=b"null", errors=("body",)),
    "a string": Case(422, "VALIDATION_FAILED", body=b'"digits"', errors=("body",)),
    "nothing asked": Case(422, "VALIDATION_FAILED", body=b"{}", errors=("dataset", "network")),
    "text/plain": typed("text/plain"),
    "no Content-Type": typed(None),
    "a form": typed("application/x-www-form-urlencoded"),
    "problem+json": typed("application/problem+json"),
    "another charset": typed("application/json; charset=latin-1"),
    "gzip": typed("application/json", **{"Content-Encoding": "gzip"}),
    "br": typed("application/json", **{"Content-Encoding": "br"}),
    "deflate": typed("application/json", **{"Content-Encoding": "deflate"}),
    "2 MB": Case(413, "BODY_TOO_LARGE", body=b" " * 2_000_000),
    "5 million integers": Case(413, "BODY_TOO_LARGE", body=b"[" + b"1," * 5_000_000 + b"1]"),
}

SPECS = {
    '"nan" for a number': invalid("init.gain", init={"gain": "nan"}),
    "2**63": invalid("seed", seed=2**63),
    "2**64": invalid("seed", seed=2**64),
    "a negative seed": invalid("seed", seed=-1),
    "1.0 for an integer": invalid("seed", seed=1.0),
    '"1" for an integer': invalid("seed", seed="1"),
    "true for an integer": invalid("seed", seed=True),
    '"0.1" for a number': invalid("optimizer.lr", optimizer={"kind": "sgd", "lr": "0.1"}),
    "1 for a boolean": invalid("split.stratify", split={"stratify": 1}),
    "NUL in a string": invalid("name", name=f"{SECRET}\x00"),
    "bidi control": invalid("name", name=f"{SECRET}\u202e"),
    "escape sequence": invalid("name", name=f"{SECRET}\x1b[31m"),
    "a 200 kB name": invalid("name", name=SECRET * 33_000),
    "a label with CRLF": invalid("labels.a", labels={"a": f"{SECRET}\r\nX: y"}),
    "900 nested lists": invalid("name", name=json.loads("[" * 900 + "]" * 900)),
    "an unknown field": invalid("tenant", tenant="me"),
    "state": invalid("state", state="succeeded"),
    "epoch": invalid("epoch", epoch=7),
    "owner": invalid("worker_id", worker_id="me"),
    "an unknown network": invalid("network.kind", network={"kind": SECRET}),
    "an unknown activation": invalid(
        "network.activation", network={"kind": "mlp", "activation": SECRET}
    ),
    "an unknown optimizer": invalid("optimizer.kind", optimizer={"kind": SECRET}),
    "cuda:99": invalid("device", device="cuda:99"),
    "cpu;rm": invalid("device", device="cpu;rm"),
    "zero units": invalid("network.hidden.0", network={"kind": "mlp", "hidden": [0]}),
    "minus one unit": invalid("network.hidden.0", network={"kind": "mlp", "hidden": [-1]}),
    "2**31 units": invalid("network.hidden.0", network={"kind": "mlp", "hidden": [2**31]}),
    "100,000 layers": invalid("network.hidden", network={"kind": "mlp", "hidden": [1] * 100_000}),
    "no layers": invalid("network.layers", network=layers()),
    "too many parameters": spec(
        422, "MODEL_TOO_LARGE", "network", network=layers(WIDE, WIDE, LINEAR)
    ),
    "shapes that do not fit": refused(
        "network.layers.0", network=layers({"kind": "conv2d", "out_channels": 3}, LINEAR)
    ),
    "batch 0": invalid("batch_size", batch_size=0),
    "batch above the rows": refused("batch_size", batch_size=100_000),
    "epochs 0": invalid("budget.epochs", budget={"epochs": 0}),
    "epochs 10**12": invalid("budget.epochs", budget={"epochs": 10**12}),
    "steps and epochs": invalid("budget", budget={"epochs": 1, "steps": 1}),
    "lr 0": invalid("optimizer.lr", optimizer={"kind": "sgd", "lr": 0}),
    "lr negative": invalid("optimizer.lr", optimizer={"kind": "sgd", "lr": -1}),
    "lr 1e300": invalid("optimizer.lr", optimizer={"kind": "sgd", "lr": 1e300}),
    "dropout 1.5": invalid(
        "network.layers.0.p", network=layers({"kind": "dropout", "p": 1.5}, LINEAR)
    ),
    "a dataset that is a path": invalid("dataset", dataset=f"../{SECRET}"),
    "no such dataset": spec(422, "DATASET_NOT_FOUND", "dataset", dataset=SECRET),
    "best without validation": refused("select", select="best"),
    "a validation split of nothing": refused(
        "split.validation", dataset="wine", split={"validation": 1e-9}, select="best"
    ),
    "bfloat16 on a cpu": refused("precision", precision="bfloat16", device="cpu"),
    "cross entropy of numbers": refused(
        "loss.kind", dataset="gaussian_linear", loss={"kind": "cross_entropy"}
    ),
    "a batch of one under batch norm": spec(
        422, "BN_TAIL_BATCH_ONE", "batch_size", norm="batch", batch_size=1
    ),
}

PATHS = {
    "an unknown run": get(404, "RUN_NOT_FOUND", RUN),
    "no id": get(404, "RUN_NOT_FOUND", "/v1/runs/x"),
    "another prefix": get(404, "RUN_NOT_FOUND", "/v1/runs/ckpt_" + "0" * 32),
    "upper case": get(404, "RUN_NOT_FOUND", "/v1/runs/run_" + "A" * 32),
    "10 kB": get(404, "RUN_NOT_FOUND", "/v1/runs/" + "x" * 10_000),
    "NUL": get(404, "RUN_NOT_FOUND", "/v1/runs/%00"),
    "dots": get(404, "RUN_NOT_FOUND", "/v1/runs/%2e%2e"),
    "unicode dots": get(404, "RUN_NOT_FOUND", "/v1/runs/%e2%80%a5"),
    "not UTF-8": get(404, "RUN_NOT_FOUND", "/v1/runs/%ff%fe"),
    "CRLF": get(404, "RUN_NOT_FOUND", "/v1/runs/a%0d%0aX-Injected:%20y"),
    "SQL": get(404, "RUN_NOT_FOUND", "/v1/runs/'%20OR%201=1--"),
    "up and away": get(404, "RUN_NOT_FOUND", "/v1/runs/..%2f..%2fetc%2fpasswd"),
    "a checkpoint up and away": get(404, "CHECKPOINT_NOT_FOUND", "/v1/checkpoints/..%2F..%2fetc"),
    "an operation up and away": get(404, "OPERATION_NOT_FOUND", "/v1/operations/..%2F..%2fetc"),
    "a dataset up and away": get(404, "DATASET_NOT_FOUND", "/v1/datasets/..%2f..%2fetc"),
    "a slash elsewhere": get(404, "NOT_FOUND", "/v1/nothing%2fhere"),
    "a part that no run has": get(404, "NOT_FOUND", f"{RUN}/nothing"),
    "getting a move": get(405, "METHOD_NOT_ALLOWED", f"{RUN}/cancel"),
    "a slash too many": get(404, "NOT_FOUND", "/v1/runs/"),
    "nothing there": get(404, "NOT_FOUND", "/v1/nothing"),
    "root": get(404, "NOT_FOUND", "/"),
    "an unknown checkpoint": get(404, "CHECKPOINT_NOT_FOUND", CKPT),
    "a checkpoint's path": get(404, "CHECKPOINT_NOT_FOUND", "/v1/checkpoints/%2e%2e/download"),
    "an unknown dataset": get(404, "DATASET_NOT_FOUND", f"/v1/datasets/{SECRET}"),
    "a dataset's path": get(404, "DATASET_NOT_FOUND", "/v1/datasets/%2e%2e"),
    "deleting a list": Case(405, "METHOD_NOT_ALLOWED", "DELETE", "/v1/runs"),
    "posting to a run": Case(405, "METHOD_NOT_ALLOWED", "POST", RUN),
    "an unheard method": Case(405, "METHOD_NOT_ALLOWED", "BREW", "/v1/runs"),
    "cancelling nothing": Case(404, "RUN_NOT_FOUND", path=f"{RUN}/cancel"),
    "events of nothing": get(404, "RUN_NOT_FOUND", f"{RUN}/events"),
    "a stream of nothing": get(404, "RUN_NOT_FOUND", f"{RUN}/events/stream"),
    "metrics of nothing": get(404, "RUN_NOT_FOUND", f"{RUN}/metrics"),
    "checkpoints of nothing": get(404, "RUN_NOT_FOUND", f"{RUN}/checkpoints"),
    "predicting with nothing": Case(404, "RUN_NOT_FOUND", path=f"{RUN}/predict", body=b"{}"),
    "an unknown operation": get(404, "OPERATION_NOT_FOUND", OPERATION),
    "an operation that is a run": get(404, "OPERATION_NOT_FOUND", "/v1/operations/run_" + "0" * 32),
    "statistics of nothing": get(404, "CHECKPOINT_NOT_FOUND", f"{CKPT}/statistics"),
    "a diagnosis of nothing": get(404, "CHECKPOINT_NOT_FOUND", f"{CKPT}/diagnosis"),
    "a diff of nothing": get(404, "CHECKPOINT_NOT_FOUND", f"{CKPT}/diff?with=ckpt_{'0' * 32}"),
    "a history of nothing": get(404, "CHECKPOINT_NOT_FOUND", f"{CKPT}/statistics/history"),
    "a history of no run": get(404, "RUN_NOT_FOUND", f"{RUN}/statistics/history"),
    "an unknown model": get(404, "MODEL_NOT_FOUND", f"/v1/models/{SECRET}"),
    "a model up and away": get(404, "MODEL_NOT_FOUND", "/v1/models/..%2f..%2fetc"),
    "drift of nothing": get(404, "MODEL_NOT_FOUND", f"/v1/models/{SECRET}/drift"),
    "asking no model": Case(404, "MODEL_NOT_FOUND", path=f"{MODEL}/predict", body=b"{}"),
    "asking no version": Case(404, "MODEL_NOT_FOUND", path=f"{MODEL}/versions/1/predict"),
    "posting to a model": Case(405, "METHOD_NOT_ALLOWED", path=MODEL),
    "revisions of nothing": get(404, "CHECKPOINT_NOT_FOUND", f"{CKPT}/revisions"),
    "revising nothing": Case(404, "CHECKPOINT_NOT_FOUND", path=f"{CKPT}/revisions", body=REVISE),
    "recalibrating nothing": Case(
        404, "CHECKPOINT_NOT_FOUND", path=f"{CKPT}/recalibrate", body=b"{}"
    ),
    "deleting nothing": Case(404, "CHECKPOINT_NOT_FOUND", "DELETE", CKPT),
    "getting a recalibration": get(405, "METHOD_NOT_ALLOWED", f"{CKPT}/recalibrate"),
    "a header of 70 kB": get(431, "HEADERS_TOO_LARGE", "/v1/runs", X="y" * 70_000),
}

QUERIES = {
    "page size 0": get(422, "VALIDATION_FAILED", "/v1/runs?limit=0"),
    "page size -1": get(422, "VALIDATION_FAILED", "/v1/runs?limit=-1"),
    "page size 10**9": get(422, "VALIDATION_FAILED", "/v1/runs?limit=1000000000"),
    "page size 2**70": get(422, "VALIDATION_FAILED", f"/v1/runs?limit={2**70}"),
    "page size NaN": get(422, "VALIDATION_FAILED", "/v1/runs?limit=NaN"),
    "an unknown state": get(422, "VALIDATION_FAILED", "/v1/runs?state=dreaming"),
    "a label with NUL": get(422, "VALIDATION_FAILED", "/v1/runs?label.a=%00"),
    "100 labels": get(
        422, "VALIDATION_FAILED", "/v1/runs?" + "&".join(f"label.{n}=1" for n in range(100))
    ),
    "a forged cursor": get(400, "BAD_CURSOR", "/v1/runs?after=run_" + "0" * 32),
    "a foreign cursor": get(400, "BAD_CURSOR", "/v1/runs?after=ds_digits"),
    "a cursor of nothing": get(400, "BAD_CURSOR", "/v1/runs?after="),
    "a cursor with NUL": get(400, "BAD_CURSOR", "/v1/datasets?after=%00"),
    "a dataset's forged cursor": get(400, "BAD_CURSOR", "/v1/datasets?after=ds_x"),
    "an operation's forged cursor": get(400, "BAD_CURSOR", "/v1/operations?after=op_x"),
    "a revision's forged cursor": get(404, "CHECKPOINT_NOT_FOUND", f"{CKPT}/revisions?after=x"),
    "operations of a run": get(422, "VALIDATION_FAILED", "/v1/operations?checkpoint=run_1"),
    "operations of NUL": get(422, "VALIDATION_FAILED", "/v1/operations?checkpoint=%00"),
    "a diff with NUL": get(422, "VALIDATION_FAILED", f"{CKPT}/diff?with=%00"),
    "a history of a layer": get(422, "VALIDATION_FAILED", f"{RUN}/statistics/history?layer=1"),
    "validate_only misspelt": submitting("validate_onyl=true", "validate_onyl"),
    "validate_only twice": submitting(
        "validate_only=true&validate_only=false&x=1", "validate_only", "x"
    ),
    "a label of a submission": submitting("label.arm=bn", "label.arm"),
    "a parameter without a name": submitting("=1", "body"),
    "a parameter of a resource": get(422, "VALIDATION_FAILED", f"{RUN}?expand=spec"),
    "a parameter of a move": Case(422, "VALIDATION_FAILED", path=f"{RUN}/cancel?force=1"),
    "a version twice": get(422, "VALIDATION_FAILED", f"{MODEL}/drift?version=1&version=2"),
    "a model's forged cursor": get(400, "BAD_CURSOR", "/v1/models?after=%00"),
    "a revision of a model": get(422, "VALIDATION_FAILED", f"{MODEL}/drift?revision=r1"),
    "a limit twice": get(422, "VALIDATION_FAILED", "/v1/runs?limit=1&limit=2"),
    "a label twice": get(422, "VALIDATION_FAILED", "/v1/runs?label.a=1&label.a=2"),
    "validate_only=perhaps": Case(
        422,
        "VALIDATION_FAILED",
        path="/v1/runs?validate_only=perhaps",
        body=json.dumps(SPEC).encode(),
        errors=("validate_only",),
    ),
    "negative events": get(422, "VALIDATION_FAILED", f"{RUN}/events?after=-1"),
    "events after 2**70": get(422, "VALIDATION_FAILED", f"{RUN}/events?after={2**70}"),
    "one metric point": get(422, "VALIDATION_FAILED", f"{RUN}/metrics?max_points=1"),
    "a step of 2**70": get(422, "VALIDATION_FAILED", f"{RUN}/metrics?from_step={2**70}"),
    "a last event of words": get(
        422, "VALIDATION_FAILED", f"{RUN}/events/stream", **{"Last-Event-ID": "yesterday"}
    ),
    "a key of 300 characters": keyed("x" * 300),
    "an empty key": keyed(""),
    "a key of 10 kB": keyed("x" * 10_000),
}


def revising(status: int, reason: str, body: Any, *paths: str) -> Case:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Case(status, reason, path=f"{CKPT}/revisions", body=text, errors=paths or None)


REVISIONS = {
    "no donor": revising(422, "VALIDATION_FAILED", {}, "statistics_from"),
    "a donor that is a run": revising(
        422, "VALIDATION_FAILED", {"statistics_from": "run_1"}, "statistics_from"
    ),
    "a donor of 200 kB": revising(
        422, "VALIDATION_FAILED", {"statistics_from": SECRET * 33_000}, "statistics_from"
    ),
    "a name with a slash": revising(
        422, "VALIDATION_FAILED", json.loads(REVISE) | {"name": f"{SECRET}/x"}, "name"
    ),
    "a field of recalibrations": revising(
        422, "VALIDATION_FAILED", json.loads(REVISE) | {"seed": 1}, "seed"
    ),
    "no JSON": revising(400, "MALFORMED_JSON", b"{"),
    "2 MB": revising(413, "BODY_TOO_LARGE", b" " * 2_000_000),
}

CASES = {**TEXT, **SPECS, **PATHS, **QUERIES}
CASES |= {f"revising: {name}": case for name, case in REVISIONS.items()}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bad_input_has_its_answer(client: httpx.Client, case: Case) -> None:
    answer = client.request(case.method, case.path, content=case.body, headers=case.headers)
    assert (answer.status_code, answer.json()["reason"]) == (case.status, case.reason)
    require_problem(answer)
    if case.errors is not None:
        assert tuple(error["path"] for error in answer.json()["errors"]) == case.errors
    if answer.status_code == 405:
        assert {"GET", "POST"} & set(answer.headers["allow"].split(", "))


def require_problem(answer: httpx.Response) -> None:
    """Every field of a problem is there, and nothing of the input."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) - {"errors"} == {
        "type",
        "title",
        "status",
        "detail",
        "instance",
        "reason",
        "metadata",
    }
    assert problem["status"] == answer.status_code
    assert len(problem["instance"]) <= 200
    shown = dict(problem, instance="")
    assert SECRET not in json.dumps(shown)
    for error in problem.get("errors", []):
        assert len(error["path"]) <= 200
    assert len(problem.get("errors", [])) <= 20


def test_every_bad_path_gives_the_same_body_but_for_its_instance(client: httpx.Client) -> None:
    odd = [
        case for case in PATHS.values() if case.reason == "RUN_NOT_FOUND" and case.method == "GET"
    ]
    bodies = [dict(client.get(case.path).json(), instance="") for case in odd]
    assert all(body == bodies[0] for body in bodies)


PREDICTIONS: dict[str, tuple[dict[str, str], bytes, int, str]] = {
    "wrong width": (JSON, b'{"inputs": [[1, 2, 3]]}', 422, "INPUT_INVALID"),
    "ragged": (JSON, b'{"inputs": [[1], [1, 2]]}', 422, "INPUT_INVALID"),
    "empty": (JSON, b'{"inputs": []}', 422, "INPUT_INVALID"),
    "NaN": (JSON, b'{"inputs": [[NaN]]}', 400, "MALFORMED_JSON"),
    "1e999": (JSON, b'{"inputs": [[' + b"1e999," * 63 + b"1e999]]}", 400, "MALFORMED_JSON"),
    "beyond float32": (JSON, b'{"inputs": [[' + b"1e300," * 63 + b"1]]}", 422, "INPUT_INVALID"),
    "words": (JSON, b'{"inputs": [["a"]]}', 422, "INPUT_INVALID"),
    "no inputs": (JSON, b"{}", 422, "VALIDATION_FAILED"),
    "unknown field": (JSON, b'{"inputs": [[1]], "mode": "train"}', 422, "VALIDATION_FAILED"),
    "duplicate inputs": (JSON, b'{"inputs": [], "inputs": []}', 400, "MALFORMED_JSON"),
    "no body": (JSON, b"", 400, "MALFORMED_JSON"),
    "too deep": (JSON, b'{"inputs": ' + b"[" * 100_000, 400, "MALFORMED_JSON"),
    "no type": ({}, b"{}", 415, "UNSUPPORTED_MEDIA_TYPE"),
    "a form": ({"Content-Type": "text/csv"}, b"1,2", 415, "UNSUPPORTED_MEDIA_TYPE"),
    "raw without shape": (
        {"Content-Type": "application/octet-stream"},
        b"\0" * 256,
        422,
        "INPUT_INVALID",
    ),
    "raw NaN": (
        {"Content-Type": "application/octet-stream", "X-Shape": "1,64"},
        np.full(64, np.nan, np.float32).tobytes(),
        422,
        "INPUT_INVALID",
    ),
    "raw of another width": (
        {"Content-Type": "application/octet-stream", "X-Shape": "1,63"},
        np.zeros(63, np.float32).tobytes(),
        422,
        "INPUT_INVALID",
    ),
    "raw of no rows": (
        {"Content-Type": "application/octet-stream", "X-Shape": "0,64"},
        b"",
        422,
        "INPUT_INVALID",
    ),
    "raw of 2**70 rows": (
        {"Content-Type": "application/octet-stream", "X-Shape": f"{2**70},64"},
        b"",
        422,
        "INPUT_INVALID",
    ),
    "too many rows": (
        {"Content-Type": "application/octet-stream", "X-Shape": "10001,64"},
        np.zeros((10_001, 64), np.float32).tobytes(),
        413,
        "TOO_MANY_ROWS",
    ),
    "40 MB": (
        {"Content-Type": "application/octet-stream", "X-Shape": "1,10000000"},
        b"\0" * 40_000_000,
        413,
        "BODY_TOO_LARGE",
    ),
    "no npy": ({"Content-Type": "application/x-npy"}, b"x", 422, "INPUT_INVALID"),
    "an image for numbers": ({"Content-Type": "image/png"}, b"x", 422, "INPUT_INVALID"),
}


@pytest.mark.parametrize(
    ("headers", "body", "status", "reason"), PREDICTIONS.values(), ids=PREDICTIONS
)
def test_a_bad_prediction_has_its_answer(
    client: httpx.Client,
    trained: dict[str, Any],
    headers: dict[str, str],
    body: bytes,
    status: int,
    reason: str,
) -> None:
    answer = client.post(f"/v1/runs/{trained['id']}/predict", content=body, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    require_problem(answer)


def test_a_bad_row_is_named(client: httpx.Client, trained: dict[str, Any]) -> None:
    inputs = [[0.0] * 64] * 3 + [[0.0] * 63]
    answer = client.post(f"/v1/runs/{trained['id']}/predict", json={"inputs": inputs}).json()
    assert (answer["metadata"]["row"], answer["errors"][0]["path"]) == (3, "inputs.3")


def test_a_body_without_a_length_is_counted_while_it_comes(client: httpx.Client) -> None:
    answer = client.post("/v1/runs", content=(b" " * 65_536 for _ in range(64)), headers=JSON)
    assert (answer.status_code, answer.json()["reason"]) == (413, "BODY_TOO_LARGE")


def test_an_upload_over_the_limit_is_413_and_its_file_is_gone(
    serve: Any, shared_redis: Any, tmp_path: Any, stored: Any
) -> None:
    settings = Settings(
        data=tmp_path,
        port=0,
        broker_url=shared_redis.url,
        min_free_bytes=0,
        upload_body_bytes=100_000,
    )
    with serve(settings) as service, httpx.Client(base_url=service.url) as client:
        before = stored(service)
        query = {"name": "x", "format": "csv"}
        headers = {"Content-Type": "multipart/form-data; boundary=B"}
        head = b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
        declared = client.post("/v1/datasets", params=query, files={"file": b"x" * 200_000})
        pieces = [head] + [b"x" * 10_000] * 20
        chunked = client.post("/v1/datasets", params=query, content=iter(pieces), headers=headers)
        for answer in (declared, chunked):
            assert (answer.status_code, answer.json()["reason"]) == (413, "BODY_TOO_LARGE")
        assert stored(service) == before
        assert list(service.files.scratch().iterdir()) == []


UPLOADS: dict[str, tuple[str, dict[str, str], bytes, int]] = {
    "no boundary": ("name=x&format=csv", {"Content-Type": "multipart/form-data"}, b"x", 400),
    "no form": ("name=x&format=csv", JSON, b"{}", 415),
    "no name": ("format=csv", {"Content-Type": "multipart/form-data; boundary=B"}, b"", 422),
    "no format": ("name=x", {"Content-Type": "multipart/form-data; boundary=B"}, b"", 422),
    "100,000 parts": (
        "name=x&format=csv",
        {"Content-Type": "multipart/form-data; boundary=B"},
        b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n' * 100_000,
        413,
    ),
    "half a form": (
        "name=x&format=csv",
        {"Content-Type": "multipart/form-data; boundary=B"},
        b'--B\r\nContent-Disposition: form-data; name="file"\r\n\r\nx',
        400,
    ),
}


@pytest.mark.parametrize("headers", [{}, JSON, {"Content-Type": "multipart/form-data"}])
def test_an_import_must_be_a_form(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.post("/v1/checkpoints", content=b"{}", headers=headers)
    assert answer.status_code == (400 if "multipart" in str(headers) else 415)
    require_problem(answer)


@pytest.mark.parametrize(("query", "headers", "body", "status"), UPLOADS.values(), ids=UPLOADS)
def test_a_bad_form_has_its_answer(
    client: httpx.Client,
    service: Any,
    query: str,
    headers: dict[str, str],
    body: bytes,
    status: int,
) -> None:
    answer = client.post(f"/v1/datasets?{query}", content=body, headers=headers)
    assert answer.status_code == status
    require_problem(answer)
    assert list(service.files.scratch().iterdir()) == []


def raw(service: Any, request: bytes) -> bytes:
    host, _, port = service.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(10_000)


POST = b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GET = b"GET /v1/runs HTTP/1.1\r\nHost: x\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
RAW = {
    "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "length and chunks": POST + b"Content-Length: 5\r\n" + CHUNKS,
    "no version": b"GET /\r\n\r\n",
    "a header with NUL": GET + b"X: a\0b\r\n\r\n",
    "a space before the colon": GET + b"X : y\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", RAW.values(), ids=RAW)
def test_what_proxies_could_misread_is_400(service: Any, request_bytes: bytes) -> None:
    answer = raw(service, request_bytes)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in answer
    assert b"connection: close" in answer.lower()


def test_no_error_echoes_a_header(service: Any) -> None:
    answer = raw(
        service,
        b"GET /v1/runs/x HTTP/1.1\r\nHost: x\r\nOrigin: s3cr3t\r\nX-Request-Id: s3cr3t\r\n\r\n",
    )
    assert b"s3cr3t" not in answer
