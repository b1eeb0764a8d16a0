"""Uploads: every format becomes a dataset that a run can use, and a bad file leaves nothing."""

import gzip
import hashlib
import io
import struct
import zipfile
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from api.intake import Wanted
from api.uploads import Received
from core.idempotency import Idempotency, reserve

CSV = b"x,y,label\n" + b"".join(
    b"%d,%.1f,%s\n" % (n, n / 2, b"ab"[n % 2 : n % 2 + 1]) for n in range(20)
)


def parquet() -> bytes:
    sink = io.BytesIO()
    table = pa.table({"x": np.arange(20.0), "label": ["a", "b"] * 10})
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue()


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def image_zip() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for number in range(10):
            picture = io.BytesIO()
            Image.fromarray(np.full((4, 5), 20 * number, np.uint8)).save(picture, "PNG")
            archive.writestr(f"{'ab'[number % 2]}/{number}.png", picture.getvalue())
    return sink.getvalue()


def saved_by_torch() -> bytes:
    sink = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, sink)
    return sink.getvalue()


IMAGES = np.arange(20 * 6).reshape(20, 2, 3)
LABELS = np.arange(20) % 2
UPLOADS: dict[str, tuple[dict[str, str], dict[str, bytes], list[int]]] = {
    "csv": ({"target": "label"}, {"file": CSV}, [2]),
    "parquet": ({"target": "label"}, {"file": parquet()}, [1]),
    "idx": ({}, {"file": idx(IMAGES), "targets": idx(LABELS)}, [1, 2, 3]),
    "image_zip": ({}, {"file": image_zip()}, [1, 4, 5]),
}


@pytest.mark.parametrize("format", [*UPLOADS, "npz"])
def test_an_upload_becomes_a_dataset_that_a_run_can_use(
    client: httpx.Client, format: str, npz: Any
) -> None:
    inputs = np.arange(60.0).reshape(20, 3)
    as_npz = ({}, {"file": npz(inputs=inputs, targets=LABELS)}, [3])
    options, files, shape = UPLOADS.get(format, as_npz)
    name = f"test-{format}"
    query = {"name": name, "format": format} | options
    answer = client.post("/v1/datasets", params=query, files=files)
    found = answer.json()
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/datasets/{found['id']}"
    assert (found["object"], found["name"], found["task"]) == ("dataset", name, "classification")
    assert (found["input_shape"], len(found["classes"])) == (shape, 2)
    assert found["splits"] == {"train": None, "test": None}
    assert found["fingerprint"].startswith("sha256:")
    assert client.get(f"/v1/datasets/{found['id']}").json() == found
    assert client.get(f"/v1/datasets/{name}").json() == found
    spec = {"dataset": name, "network": {"kind": "mlp"}, "batch_size": 4}
    assert client.post("/v1/runs", json=spec).status_code == 202


def test_rows_sorted_by_class_are_told_with_the_dataset_and_with_every_run(
    client: httpx.Client, npz: Any
) -> None:
    query = {"name": "in-order", "format": "npz"}
    inputs, index = np.arange(180.0).reshape(60, 3), np.arange(60)
    spec = {"dataset": "in-order", "network": {"kind": "mlp"}, "batch_size": 4}
    for targets, reasons in (
        (index // 30, ["ROWS_CLASS_SORTED"]),
        (index % 2, []),
        (index / 7, []),
    ):
        files = {"file": npz(inputs=inputs, targets=targets)}
        dataset = client.post("/v1/datasets", params=query, files=files).json()
        assert [one["reason"] for one in dataset["findings"]] == reasons
        assert client.get(f"/v1/datasets/{dataset['id']}").json() == dataset
        validated = client.post("/v1/runs?validate_only=true", json=spec).json()
        submitted = client.post("/v1/runs", json=spec).json()
        for told in (validated, submitted):
            of_rows = [one for one in told["findings"] if one["reason"].startswith("ROWS_")]
            assert of_rows == dataset["findings"]


def test_a_run_names_an_upload_by_its_id_whatever_the_request_said(
    client: httpx.Client, npz: Any
) -> None:
    files = {"file": npz(inputs=np.arange(60.0).reshape(20, 3), targets=LABELS)}
    first = client.post("/v1/datasets?name=twice&format=npz", files=files).json()
    second = client.post("/v1/datasets?name=twice&format=npz", files=files).json()
    spec = {"dataset": "twice", "network": {"kind": "mlp"}, "batch_size": 4}
    by_name = client.post("/v1/runs", json=spec).json()
    by_id = client.post("/v1/runs", json=spec | {"dataset": second["id"]}).json()
    older = client.post("/v1/runs", json=spec | {"dataset": first["id"]}).json()
    assert by_name["spec"]["dataset"] == second["id"]
    assert by_name["spec_hash"] == by_id["spec_hash"] != older["spec_hash"]


WORDS = b"anna\nhannah\nnan\n" * 20


def upload_words(client: httpx.Client, name: str, content: bytes = WORDS, **more: Any) -> Any:
    query = {"name": name, "format": "text"} | more
    return client.post("/v1/datasets", params=query, files={"file": content})


def test_a_word_list_is_looked_up_trained_on_and_answered(
    client: httpx.Client, service: Any
) -> None:
    found = upload_words(client, "words", context=4).json()
    assert (found["rows"], found["input_shape"]) == (20 * (5 + 7 + 4), [4])
    assert found["classes"] == [".", "a", "h", "n"]
    layers = [
        {"kind": "embedding", "num_embeddings": 4, "embedding_dim": 2},
        *({"kind": "flatten"}, {"kind": "linear"}),
    ]
    asked = {"dataset": "words", "network": {"kind": "layers", "layers": layers}}
    run = service.train(**asked, scaling="none")
    path = f"/v1/runs/{run['id']}/predict"
    assert client.post(path, json={"inputs": [[0, 0, 0, 3]]}).status_code == 200
    for bad in (4, -1, 0.5):
        refused = client.post(path, json={"inputs": [[0, 0, 0, 0], [0, 0, 0, bad]]})
        assert (refused.status_code, refused.json()["reason"]) == (422, "INPUT_INVALID")
        assert refused.json()["errors"][0]["path"] == "inputs.1"
    scaled = client.post("/v1/runs", json=asked)
    assert (scaled.status_code, scaled.json()["errors"][0]["path"]) == (422, "scaling")
    layers[0]["num_embeddings"] = 3
    few = client.post("/v1/runs", json=asked | {"scaling": "none"}).json()
    assert few["errors"][0]["path"] == "network.layers.0.num_embeddings"


def test_a_word_list_has_three_characters_before_each_unless_it_is_told(
    client: httpx.Client,
) -> None:
    assert upload_words(client, "three").json()["input_shape"] == [3]
    for context in ("0", "65", "a", "1.5"):
        refused = upload_words(client, "no", context=context)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["path"] == "context"
    other = client.post("/v1/datasets?name=no&format=csv&context=3", files={"file": CSV})
    assert (other.status_code, other.json()["errors"][0]["path"]) == (422, "context")
    spoiled = upload_words(client, "no", b"anna\nb b\n").json()
    assert (spoiled["reason"], spoiled["metadata"]["line"]) == ("DATASET_INVALID", 2)


def test_an_idx_pair_may_bring_its_own_test_split(client: httpx.Client) -> None:
    files = {"file": idx(IMAGES), "targets": idx(LABELS)}
    files |= {"test_file": idx(IMAGES[:4]), "test_targets": idx(LABELS[:4])}
    found = client.post("/v1/datasets?name=own-split&format=idx", files=files).json()
    assert (found["rows"], found["splits"]) == (24, {"train": 20, "test": 4})


def test_the_built_in_datasets_are_always_there(client: httpx.Client) -> None:
    listed = {}
    after = ""
    while True:
        page = client.get(f"/v1/datasets?limit=2{after}").json()
        listed |= {one["name"]: one for one in page["data"]}
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"
    names = {"digits", "breast_cancer", "wine", "two_class_500", "gaussian_linear", "spirals"}
    assert names <= set(listed)
    assert all(listed[name]["built_in"] for name in names)
    assert listed["digits"]["rows"] == 1797
    assert client.get("/v1/datasets/digits").json() == listed["digits"]


def test_a_built_in_dataset_is_neither_deleted_nor_replaced(client: httpx.Client) -> None:
    for deleted in map(client.delete, ("/v1/datasets/ds_digits", "/v1/datasets/digits")):
        assert (deleted.status_code, deleted.json()["reason"]) == (409, "DATASET_BUILT_IN")
    query = {"name": "digits", "format": "csv", "target": "label"}
    replaced = client.post("/v1/datasets", params=query, files={"file": CSV})
    assert (replaced.status_code, replaced.json()["reason"]) == (409, "DATASET_BUILT_IN")


def upload(client: httpx.Client, name: str, content: bytes = CSV, **headers: str) -> Any:
    query = {"name": name, "format": "csv", "target": "label"}
    headers = {key.replace("_", "-"): value for key, value in headers.items()}
    return client.post("/v1/datasets", params=query, files={"file": content}, headers=headers)


def test_a_dataset_that_a_run_waits_for_is_not_deleted(
    client: httpx.Client, service: Any, stored: Any
) -> None:
    dataset = upload(client, "in-use").json()["id"]
    run = service.submit(dataset="in-use", batch_size=4)["id"]
    answer = client.delete(f"/v1/datasets/{dataset}")
    assert (answer.status_code, answer.json()["reason"]) == (409, "DATASET_IN_USE")
    client.post(f"/v1/runs/{run}/cancel")
    assert client.delete(f"/v1/datasets/{dataset}").status_code == 204
    assert client.get(f"/v1/datasets/{dataset}").status_code == 404
    assert not any(dataset in path for path in stored(service))


def test_a_dataset_may_be_deleted_by_the_name_that_it_is_read_by(client: httpx.Client) -> None:
    older, newer = (upload(client, "by-name").json()["id"] for _ in range(2))
    assert client.delete("/v1/datasets/by-name").status_code == 204
    assert client.get(f"/v1/datasets/{newer}").status_code == 404
    assert client.get("/v1/datasets/by-name").json()["id"] == older


def test_a_deleted_dataset_is_forgotten_at_once(client: httpx.Client, service: Any) -> None:
    dataset = upload(client, "short-lived").json()["id"]
    for name in ("short-lived", dataset):
        run = service.submit(dataset=name, batch_size=4)["id"]
        client.post(f"/v1/runs/{run}/cancel")
    client.delete(f"/v1/datasets/{dataset}")
    for name in ("short-lived", dataset):
        spec = {"dataset": name, "network": {"kind": "mlp"}, "batch_size": 4}
        answer = client.post("/v1/runs", json=spec)
        assert (answer.status_code, answer.json()["reason"]) == (422, "DATASET_NOT_FOUND")
        assert answer.json()["errors"][0]["path"] == "dataset"


def test_a_name_means_the_newest_dataset_of_that_name(client: httpx.Client, service: Any) -> None:
    upload(client, "renewed")
    service.submit(dataset="renewed", batch_size=4)
    newer = upload(client, "renewed", CSV.replace(b"y", b"z") * 1 + b"7,3.5,a\n").json()
    service.submit(dataset="renewed", batch_size=4)
    in_use = client.delete(f"/v1/datasets/{newer['id']}")
    assert in_use.json()["reason"] == "DATASET_IN_USE"


def test_a_repeated_upload_gives_the_same_dataset_again(client: httpx.Client) -> None:
    first = upload(client, "repeated", Idempotency_Key="upload-1")
    second = upload(client, "repeated", Idempotency_Key="upload-1")
    other = upload(client, "repeated", CSV + b"9,1.0,a\n", Idempotency_Key="upload-1")
    assert (second.status_code, second.json()) == (201, first.json())
    assert second.headers["idempotent-replay"] == "true"
    assert (other.status_code, other.json()["reason"]) == (422, "IDEMPOTENCY_MISMATCH")


def test_a_key_whose_upload_is_still_in_flight_is_409(client: httpx.Client, service: Any) -> None:
    parts = hashlib.sha256(f"file {hashlib.sha256(CSV).hexdigest()}\n".encode()).hexdigest()
    body = Wanted("flying", "csv", "label").hash_with(Received({}, parts))
    asked = Idempotency("POST /v1/datasets", "upload-3", body)
    service.database.write(lambda c: reserve(c, asked, None))
    answer = upload(client, "flying", Idempotency_Key="upload-3")
    assert (answer.status_code, answer.json()["reason"]) == (409, "IDEMPOTENCY_IN_FLIGHT")
    assert int(answer.headers["retry-after"]) in {1, 2}


def test_a_key_whose_upload_was_bad_may_be_used_again(client: httpx.Client) -> None:
    assert upload(client, "again", b"bad", Idempotency_Key="upload-2").status_code == 422
    assert upload(client, "again", b"bad", Idempotency_Key="upload-2").status_code == 422
    assert upload(client, "again", CSV, Idempotency_Key="upload-2").status_code == 201


BAD: dict[str, tuple[str, bytes, int, str]] = {
    "empty": ("csv", b"", 422, "DATASET_INVALID"),
    "only a header": ("csv", b"x,label\n", 422, "DATASET_INVALID"),
    "a word for a number": ("csv", b"x,label\n1,a\ntwo,b\n", 422, "DATASET_INVALID"),
    "ragged": ("csv", b"x,label\n1,a\n2\n", 422, "DATASET_INVALID"),
    "NaN": ("csv", b"x,label\n1,a\nnan,b\n", 422, "DATASET_INVALID"),
    "no such target": ("csv", b"x,y\n1,a\n2,b\n", 422, "DATASET_INVALID"),
    "NUL": ("csv", b"x,label\n1,a\x00\n2,b\n", 422, "DATASET_INVALID"),
    "no zip": ("npz", b"not a zip", 422, "DATASET_INVALID"),
    "no parquet": ("parquet", b"PAR1 and nothing", 422, "DATASET_INVALID"),
    "no images": ("image_zip", b"PK\x05\x06" + b"\0" * 18, 422, "DATASET_INVALID"),
    "torch.save": ("npz", saved_by_torch(), 415, "UNSUPPORTED_FORMAT"),
    "pickle": ("csv", b"\x80\x04\x95\x0b.", 415, "UNSUPPORTED_FORMAT"),
    "format pt": ("pt", saved_by_torch(), 415, "UNSUPPORTED_FORMAT"),
    "format pickle": ("pickle", b"\x80\x04.", 415, "UNSUPPORTED_FORMAT"),
}


@pytest.mark.parametrize(("format", "content", "status", "reason"), BAD.values(), ids=BAD)
def test_a_bad_file_leaves_nothing_behind(
    client: httpx.Client,
    service: Any,
    stored: Any,
    format: str,
    content: bytes,
    status: int,
    reason: str,
) -> None:
    files, newest = stored(service), client.get("/v1/datasets?limit=1").json()["last_id"]
    query = {"name": "bad", "format": format, "target": "label"}
    answer = client.post("/v1/datasets", params=query, files={"file": content})
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert stored(service) == files
    assert list(service.files.scratch().iterdir()) == []
    assert client.get("/v1/datasets?limit=1").json()["last_id"] == newest


def test_a_bad_cell_is_named_by_row_and_column(client: httpx.Client) -> None:
    metadata = upload(client, "bad", b"x,label\n1,a\ntwo,b\n").json()["metadata"]
    assert (metadata["row"], metadata["column"]) == (2, "x")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "x" * 101, ".hidden", "a b", "ü", "a\x00"])
def test_a_name_must_fit_the_pattern(client: httpx.Client, name: str) -> None:
    answer = upload(client, name)
    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["errors"]] == ["name"]


@pytest.mark.parametrize(
    "name", ["../../etc/x", "x" * 5_000, "CON", "a\x00b", "=cmd()", "\u202etxt.exe", "a\r\nb"]
)
def test_the_name_of_the_file_is_never_used(
    client: httpx.Client, service: Any, stored: Any, name: str
) -> None:
    query = {"name": "named", "format": "csv", "target": "label"}
    answer = client.post("/v1/datasets", params=query, files={"file": (name, CSV)})
    assert answer.status_code == 201
    added = [path for path in stored(service) if answer.json()["id"] in path]
    assert sorted(path.rpartition("/")[2] for path in added) == [
        "facts.json",
        "inputs.npy",
        "targets.npy",
    ]


def test_idx_needs_its_targets(client: httpx.Client) -> None:
    answer = client.post("/v1/datasets?name=x&format=idx", files={"file": idx(IMAGES)})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "targets")
