"""Checkpoints over HTTP: what is told of them, and their files, from a folder and from S3."""

import hashlib
from typing import Any

import httpx
import pytest
import safetensors.torch
import torch

from core.settings import Settings

WIDE = {"kind": "mlp", "hidden": [40, 30, 20]}


def test_a_checkpoint_has_every_field_of_the_contract(
    client: httpx.Client, trained: dict[str, Any]
) -> None:
    found = client.get(f"/v1/checkpoints/{trained['checkpoint']}").json()
    assert found["id"] == trained["checkpoint"]
    assert (found["object"], found["run"], found["step"]) == ("checkpoint", trained["id"], 1)
    assert found["metrics"] == {"test_accuracy": 0.5}
    assert found["statistics"]["fingerprint"].startswith("sha256:")
    assert found["statistics"]["layers"] == 1
    assert (found["revision_of"], found["spec"]) == (None, trained["spec"])
    assert found["bytes"] > 0


def test_a_runs_checkpoints_are_listed_newest_first(client: httpx.Client, service: Any) -> None:
    run_id = service.submit()["id"]
    epoch = service.claim(run_id)
    made = [service.add_checkpoint(run_id, epoch, step) for step in (1, 2, 3)]
    first = client.get(f"/v1/runs/{run_id}/checkpoints", params={"limit": 2}).json()
    second = client.get(
        f"/v1/runs/{run_id}/checkpoints", params={"limit": 2, "after": first["last_id"]}
    ).json()
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert [one["id"] for one in first["data"] + second["data"]] == made[::-1]
    assert client.get(f"/v1/runs/{run_id}").json()["checkpoint"] == made[-1]


def test_a_download_is_the_file_with_pytorchs_names(
    client: httpx.Client, trained: dict[str, Any]
) -> None:
    answer = client.get(f"/v1/checkpoints/{trained['checkpoint']}/download")
    sha256 = hashlib.sha256(answer.content).hexdigest()
    assert answer.status_code == 200
    assert answer.headers["etag"] == f'"{sha256}"'
    assert int(answer.headers["content-length"]) == len(answer.content)
    names = set(safetensors.torch.load(answer.content))
    assert {"0.weight", "1.running_mean", "1.running_var", "1.num_batches_tracked"} <= names


@pytest.fixture(params=["folder", "s3"])
def behind(request: pytest.FixtureRequest, serve: Any, shared_redis: Any, tmp_path: Any) -> Any:
    """A service of its own, its files in a folder or in S3."""
    settings = Settings(data=tmp_path, port=0, broker_url=shared_redis.url, min_free_bytes=0)
    if request.param == "s3":
        given = request.getfixturevalue("s3_settings").model_dump()
        kept = {name: given[name] for name in ("files_url", "files_options")}
        settings = Settings(**{**settings.model_dump(), **kept})
    with serve(settings) as service:
        yield service


@pytest.fixture(params=["original", "revision"])
def file(request: pytest.FixtureRequest, behind: Any) -> Any:
    """A client for the download of one checkpoint, and its content."""
    checkpoint = behind.train(norm="batch", network=WIDE)["checkpoint"]
    if request.param == "revision":
        checkpoint = behind.add_revision(checkpoint)
    with httpx.Client(base_url=f"{behind.url}/v1/checkpoints/{checkpoint}") as client:
        yield client, client.get("/download").content


def test_ranges_tags_and_heads_are_answered_from_any_store(file: Any) -> None:
    client, content = file
    etag = f'"{hashlib.sha256(content).hexdigest()}"'

    def get(**headers: str) -> Any:
        return client.get("/download", headers={k.replace("_", "-"): v for k, v in headers.items()})

    part = get(Range="bytes=10-19")
    assert (part.status_code, part.content) == (206, content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(content)}"
    assert part.headers["etag"] == etag
    assert get(Range="bytes=-5").content == content[-5:]
    assert get(Range=f"bytes={len(content) - 3}-").content == content[-3:]
    for odd in ("bytes=x-y", "bytes=0-1,3-4", "bytes=9-2", "rows=0-1"):
        whole = get(Range=odd)
        assert (whole.status_code, whole.content) == (200, content)
    beyond = get(Range=f"bytes={len(content)}-")
    assert (beyond.status_code, beyond.json()["reason"]) == (416, "RANGE_NOT_SATISFIABLE")

    same = get(If_None_Match=etag)
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert get(If_None_Match='"other"').status_code == 200
    assert get(Range="bytes=0-0", If_Range=etag).status_code == 206
    assert get(Range="bytes=0-0", If_Range='"other"').status_code == 200

    head = client.head("/download")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(content))
    assert head.headers["etag"] == etag
    assert client.head("/download", headers={"If-None-Match": etag}).status_code == 304


def test_a_revision_is_the_file_that_was_recorded(client: httpx.Client, service: Any) -> None:
    original = service.train(norm="batch")["checkpoint"]
    revision = service.add_revision(original, shift=2.5)
    told = client.get(f"/v1/checkpoints/{revision}").json()
    first, second = (
        client.get(f"/v1/checkpoints/{one}/download").content for one in (original, revision)
    )
    assert hashlib.sha256(second).hexdigest() == told["sha256"]
    assert len(second) == told["bytes"]
    old, new = safetensors.torch.load(first), safetensors.torch.load(second)
    assert set(old) == set(new)
    assert torch.equal(new["1.running_mean"], old["1.running_mean"] + 2.5)
    assert all(torch.equal(old[n], new[n]) for n in old if not n.endswith("running_mean"))


def test_a_file_that_is_gone_is_404_before_any_byte(client: httpx.Client, service: Any) -> None:
    run = service.train()
    service.files.delete_prefix(f"runs/{run['id']}")
    answer = client.get(f"/v1/checkpoints/{run['checkpoint']}/download")
    assert (answer.status_code, answer.json()["reason"]) == (404, "FILE_MISSING")
