"""Models over HTTP: published if sound, with versions and aliases, and asked by name."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from torch import Tensor

from api.stored import load
from core import checkpoints
from core.checkpoints import NewCheckpoint, Origin
from core.ids import new_id
from model.checkpoint import About, to_bytes
from model.statistics.fingerprint import fingerprint

ROWS = np.random.RandomState(0).uniform(0, 16, (6, 64)).astype(np.float32)
ASKED = {"inputs": ROWS.tolist(), "return": ["logits"]}

Tensors = dict[str, Tensor]
Change = Callable[[Tensors, About], tuple[Tensors, About]]


@pytest.fixture
def name() -> str:
    """A name that no model has."""
    return f"m-{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def later(service: Any) -> str:
    """Another sound checkpoint."""
    checkpoint: str = service.train(passes=60, norm="batch")["checkpoint"]
    return checkpoint


@pytest.fixture
def plant(service: Any, sound: dict[str, Any]) -> Callable[..., str]:
    """Record a checkpoint that was made by changing what the sound one holds."""

    def record(change: Change, recorded: str | None = None) -> str:
        old = service.database.read(lambda c: checkpoints.get(c, sound["checkpoint"]))
        loaded = load(service.files, old)
        tensors, about = change(dict(loaded.network.state_dict()), loaded.about)
        told = recorded or fingerprint(tensors)
        content = to_bytes(tensors, about.metadata(told))
        path = service.files.scratch() / secrets.token_hex(8)
        path.write_bytes(content)
        key, digest = f"imports/{path.name}.safetensors", hashlib.sha256(content).hexdigest()
        service.files.put(path, key)
        new = NewCheckpoint(1, key, digest, len(content), told, 1, "w", {})
        return service.database.write(lambda c: checkpoints.insert_one(c, new, Origin(old.spec)))

    return record


def put(client: httpx.Client, name: str, checkpoint: str) -> httpx.Response:
    return client.put(f"/v1/models/{name}", json={"checkpoint": checkpoint})


def reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["reason"]


def with_tensor(name: str, change: Callable[[Tensor], Tensor]) -> Change:
    return lambda tensors, about: (tensors | {name: change(tensors[name].clone())}, about)


def at_init(tensors: Tensors, about: About) -> tuple[Tensors, About]:
    initial = {"1.running_mean": torch.zeros(5), "1.running_var": torch.ones(5)}
    return tensors | initial, about


ONE = torch.tensor([1])  # a channel
FAULTS: dict[str, Change] = {
    "BN_NEVER_UPDATED": with_tensor("1.num_batches_tracked", lambda t: t * 0),
    "BN_STATS_AT_INIT": at_init,
    "BN_STATS_NONFINITE": with_tensor("1.running_mean", lambda t: t.index_fill(0, ONE, torch.nan)),
    "BN_VAR_NEGATIVE": with_tensor("1.running_var", lambda t: t.index_fill(0, ONE, -1.0)),
    "BN_COUNTER_MISMATCH": lambda tensors, about: (tensors, replace(about, batches=20)),
    "BN_AVERAGED_NOT_RECALIBRATED": lambda tensors, about: (
        tensors,
        replace(about, is_averaged=True),
    ),
    "BN_STATS_MISSING": lambda tensors, about: (
        {name: t for name, t in tensors.items() if name != "1.running_var"},
        about,
    ),
}


def test_a_sound_checkpoint_becomes_the_first_version(
    client: httpx.Client, name: str, sound: dict[str, Any]
) -> None:
    answer = put(client, name, sound["checkpoint"])
    assert (answer.status_code, answer.headers["location"]) == (201, f"/v1/models/{name}")
    model = answer.json()
    assert (model["id"], model["object"], model["name"]) == (name, "model", name)
    assert (model["version"], model["checkpoint"]) == (1, sound["checkpoint"])
    [version] = model["versions"]
    assert version == {
        "version": 1,
        "checkpoint": sound["checkpoint"],
        "created_at": model["created_at"],
    }
    assert (model["aliases"], model["findings"]) == ({}, [])
    assert model["serving"]["folded"] is True
    assert model["serving"]["largest_difference"] < 1e-5
    assert model["serving"]["refusal"] is None
    assert client.get(f"/v1/models/{name}").json() == model


def test_the_same_checkpoint_again_is_200_and_another_one_a_new_version(
    client: httpx.Client, name: str, sound: dict[str, Any], later: str
) -> None:
    first = put(client, name, sound["checkpoint"])
    again = put(client, name, sound["checkpoint"])
    assert (again.status_code, again.json()) == (200, first.json())
    assert "location" not in again.headers
    second = put(client, name, later)
    assert (second.status_code, second.json()["version"]) == (201, 2)
    assert [one["version"] for one in second.json()["versions"]] == [2, 1]
    back = put(client, name, sound["checkpoint"]).json()
    assert (back["version"], back["checkpoint"]) == (3, sound["checkpoint"])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_not_published_and_told_by_its_name(
    client: httpx.Client, name: str, plant: Callable[..., str], fault: str
) -> None:
    checkpoint = plant(FAULTS[fault])
    answer = put(client, name, checkpoint)
    assert reason(answer) == (409, fault)
    problem = answer.json()
    first = problem["metadata"]["findings"][0]
    assert (first["reason"], first["severity"]) == (fault, "error")
    assert first["layer"] == (None if fault == "BN_AVERAGED_NOT_RECALIBRATED" else "1")
    assert first["layer"] is None or "Layer 1 " in problem["detail"]
    assert first["remedy"] in problem["detail"]
    assert "{id}" not in problem["detail"]
    assert reason(client.get(f"/v1/models/{name}")) == (404, "MODEL_NOT_FOUND")


def test_statistics_that_are_not_those_that_were_recorded_are_not_published(
    client: httpx.Client, name: str, plant: Callable[..., str]
) -> None:
    moved = plant(with_tensor("1.running_mean", lambda t: t + 1), recorded="sha256:0")
    assert reason(put(client, name, moved)) == (409, "BN_FINGERPRINT_MISMATCH")


def test_a_checkpoint_fresh_from_the_start_is_not_published(
    client: httpx.Client, name: str, trained: dict[str, Any]
) -> None:
    assert reason(put(client, name, trained["checkpoint"])) == (409, "BN_NEVER_UPDATED")


def test_a_refused_checkpoint_leaves_the_version_before_it(
    client: httpx.Client, name: str, sound: dict[str, Any], plant: Callable[..., str]
) -> None:
    before = put(client, name, sound["checkpoint"]).json()
    put(client, name, plant(FAULTS["BN_STATS_NONFINITE"]))
    assert client.get(f"/v1/models/{name}").json() == before


def test_a_file_that_cannot_be_loaded_is_422(
    client: httpx.Client, service: Any, name: str, plant: Callable[..., str]
) -> None:
    checkpoint = plant(lambda tensors, about: (tensors, about))
    record = service.database.read(lambda c: checkpoints.get(c, checkpoint))
    service.files.local(record.key).write_bytes(b"no checkpoint")
    assert reason(put(client, name, checkpoint)) == (422, "CHECKSUM_MISMATCH")


def test_a_warning_is_published_and_told(client: httpx.Client, service: Any, name: str) -> None:
    young = service.train(passes=10, norm="batch")["checkpoint"]  # .9^10 = .35
    model = put(client, name, young).json()
    [finding] = model["findings"]
    assert (finding["reason"], finding["severity"]) == ("BN_STATS_LAG", "warning")
    assert finding["layer"] == "1"
    assert client.get(f"/v1/models/{name}").json()["findings"] == [finding]
    answer = client.post(f"/v1/models/{name}/predict", json=ASKED).json()["model"]
    assert [one["reason"] for one in answer["warnings"]] == ["BN_STATS_LAG"]


def test_a_network_without_batch_norm_is_published(
    client: httpx.Client, service: Any, name: str
) -> None:
    model = put(client, name, service.train(norm="none")["checkpoint"]).json()
    assert model["findings"] == []
    assert model["serving"] == {"folded": None, "largest_difference": None, "refusal": None}


def test_a_revision_can_be_published(
    client: httpx.Client, service: Any, name: str, sound: dict[str, Any]
) -> None:
    revision = service.add_revision(sound["checkpoint"], shift=0.5, name=f"r-{name}")
    assert put(client, name, revision).status_code == 201
    answer = client.post(f"/v1/models/{name}/predict", json=ASKED).json()["model"]
    told = client.get(f"/v1/checkpoints/{revision}").json()
    assert answer["checkpoint"] == revision
    assert answer["statistics"] == told["statistics"]["fingerprint"]
    assert (answer["revision"], answer["version"]) == (f"r-{name}", 1)


@pytest.mark.parametrize("body", [{}, {"checkpoint": "x"}, {"checkpoint": None}])
def test_a_checkpoint_must_be_named(client: httpx.Client, name: str, body: dict[str, Any]) -> None:
    answer = client.put(f"/v1/models/{name}", json=body)
    assert reason(answer) == (422, "VALIDATION_FAILED")
    assert [error["path"] for error in answer.json()["errors"]] == ["checkpoint"]


def test_a_checkpoint_that_is_not_there_is_refused_by_its_field(
    client: httpx.Client, name: str
) -> None:
    answer = put(client, name, new_id("ckpt"))
    assert reason(answer) == (422, "CHECKPOINT_NOT_FOUND")
    assert [error["path"] for error in answer.json()["errors"]] == ["checkpoint"]


@pytest.mark.parametrize("bad", [".hidden", "a b", "é", "%00", "x" * 101, "a%0a"])
def test_what_is_no_name_is_refused_by_its_field(
    client: httpx.Client, sound: dict[str, Any], bad: str
) -> None:
    answer = put(client, bad, sound["checkpoint"])
    assert reason(answer) == (422, "VALIDATION_FAILED")
    assert [error["path"] for error in answer.json()["errors"]] == ["name"]
    assert reason(client.get(f"/v1/models/{bad}")) == (404, "MODEL_NOT_FOUND")
    assert reason(client.get(f"/v1/models/{bad}/drift")) == (404, "MODEL_NOT_FOUND")
    assert reason(client.delete(f"/v1/models/{bad}")) == (404, "MODEL_NOT_FOUND")
    predicted = client.post(f"/v1/models/{bad}/predict", json=ASKED)
    assert reason(predicted) == (404, "MODEL_NOT_FOUND")


def test_models_are_listed_newest_first(
    client: httpx.Client, name: str, sound: dict[str, Any]
) -> None:
    names = [f"{name}-{part}" for part in "bca"]
    for one in names:
        put(client, one, sound["checkpoint"])
    first = client.get("/v1/models", params={"limit": 2}).json()
    assert (first["object"], first["has_more"]) == ("list", True)
    assert first["last_id"] == names[1]
    second = client.get("/v1/models", params={"limit": 1, "after": names[1]}).json()
    listed = [*first["data"], *second["data"]]
    assert [one["id"] for one in listed] == names[::-1]
    assert listed[0] == client.get(f"/v1/models/{names[2]}").json()
    foreign = client.get("/v1/models", params={"after": "unknown"})
    assert reason(foreign) == (400, "BAD_CURSOR")


def test_an_alias_names_a_version_until_it_names_another(
    client: httpx.Client, name: str, sound: dict[str, Any], later: str
) -> None:
    put(client, name, sound["checkpoint"])
    put(client, name, later)
    path = f"/v1/models/{name}/aliases/live"
    model = client.put(path, json={"version": 1})
    assert (model.status_code, model.json()["aliases"]) == (200, {"live": 1})

    def answered_by(which: str) -> Any:
        return client.post(f"/v1/models/{name}{which}/predict", json=ASKED).json()["model"]

    assert answered_by("")["checkpoint"] == answered_by("/versions/2")["checkpoint"] == later
    assert answered_by("/versions/live") == answered_by("/versions/1")
    assert answered_by("/versions/live")["version"] == 1
    client.put(path, json={"version": 2})
    assert answered_by("/versions/live")["version"] == 2
    assert client.delete(path).status_code == 204
    gone = client.post(f"/v1/models/{name}/versions/live/predict", json=ASKED)
    assert reason(gone) == (404, "MODEL_VERSION_NOT_FOUND")
    assert reason(client.delete(path)) == (404, "MODEL_VERSION_NOT_FOUND")


@pytest.mark.parametrize("alias", ["7", "007", ".x", "a b", "x" * 101])
def test_a_number_is_never_an_alias(
    client: httpx.Client, name: str, sound: dict[str, Any], alias: str
) -> None:
    put(client, name, sound["checkpoint"])
    answer = client.put(f"/v1/models/{name}/aliases/{alias}", json={"version": 1})
    assert reason(answer) == (422, "VALIDATION_FAILED")
    assert [error["path"] for error in answer.json()["errors"]] == ["alias"]
    assert client.get(f"/v1/models/{name}").json()["aliases"] == {}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"version": 2}, (404, "MODEL_VERSION_NOT_FOUND")),
        ({"version": 0}, (422, "VALIDATION_FAILED")),
        ({"version": 2**70}, (422, "VALIDATION_FAILED")),
        ({"version": "1"}, (422, "VALIDATION_FAILED")),
        ({}, (422, "VALIDATION_FAILED")),
    ],
)
def test_an_alias_needs_a_version_that_is_there(
    client: httpx.Client,
    name: str,
    sound: dict[str, Any],
    body: dict[str, Any],
    expected: tuple[int, str],
) -> None:
    put(client, name, sound["checkpoint"])
    path = f"/v1/models/{name}/aliases/live"
    assert reason(client.put(path, json=body)) == expected
    unknown = client.put("/v1/models/unknown/aliases/live", json={"version": 1})
    assert reason(unknown) == (404, "MODEL_NOT_FOUND")


def test_a_deleted_model_lets_go_of_its_checkpoints_and_of_no_number(
    client: httpx.Client, service: Any, name: str
) -> None:
    run = service.train(passes=40, norm="batch")
    put(client, name, run["checkpoint"])
    assert reason(client.delete(f"/v1/runs/{run['id']}")) == (409, "CHECKPOINT_IN_USE")
    assert client.delete(f"/v1/models/{name}").status_code == 204
    assert reason(client.delete(f"/v1/models/{name}")) == (404, "MODEL_NOT_FOUND")
    assert reason(client.post(f"/v1/models/{name}/predict", json=ASKED))[0] == 404
    assert put(client, name, run["checkpoint"]).json()["version"] == 2
    client.delete(f"/v1/models/{name}")
    assert client.delete(f"/v1/runs/{run['id']}").status_code == 204


def test_a_model_answers_as_the_run_does_and_says_who_it_is(
    client: httpx.Client, name: str, sound: dict[str, Any]
) -> None:
    put(client, name, sound["checkpoint"])
    of_run = client.post(f"/v1/runs/{sound['id']}/predict", json=ASKED).json()
    of_model = client.post(f"/v1/models/{name}/predict", json=ASKED).json()
    assert of_model["model"] == of_run["model"] | {"name": name, "version": 1}
    assert of_model["logits"] == of_run["logits"]
    headers = {"Content-Type": "application/octet-stream", "X-Shape": "6,64"}
    path = f"/v1/models/{name}/versions/1/predict"
    raw = client.post(path, content=ROWS.tobytes(), headers=headers).json()
    assert raw["predictions"] == of_model["predictions"]


def test_a_model_answers_with_another_revision_of_its_checkpoint(
    client: httpx.Client, service: Any, name: str, sound: dict[str, Any]
) -> None:
    put(client, name, sound["checkpoint"])
    revision = service.add_revision(sound["checkpoint"], name=f"moved-{name}")
    query = {"revision": f"moved-{name}"}
    path = f"/v1/models/{name}/versions/1/predict"
    answer = client.post(path, json=ASKED, params=query).json()["model"]
    assert (answer["checkpoint"], answer["revision"]) == (revision, f"moved-{name}")
    assert (answer["name"], answer["version"]) == (name, 1)
    unknown = client.post(path, json=ASKED, params={"revision": "unknown"})
    assert reason(unknown) == (404, "REVISION_NOT_FOUND")
    assert client.post(path, json=ASKED | query).json()["model"] == answer


@pytest.mark.parametrize("which", ["0", "2", "-1", "1.0", "01", "9" * 30, "%00", "..", "unknown"])
def test_a_version_that_is_not_there_is_not_found(
    client: httpx.Client, name: str, sound: dict[str, Any], which: str
) -> None:
    put(client, name, sound["checkpoint"])
    encoded = which.replace("..", "%2e%2e")
    answer = client.post(f"/v1/models/{name}/versions/{encoded}/predict", json=ASKED)
    assert reason(answer) == (404, "MODEL_VERSION_NOT_FOUND")


def test_a_bad_prediction_has_the_answer_that_a_run_gives(
    client: httpx.Client, name: str, sound: dict[str, Any]
) -> None:
    put(client, name, sound["checkpoint"])
    path = f"/v1/models/{name}/predict"
    assert reason(client.post(path, json={"inputs": [[1]]})) == (422, "INPUT_INVALID")
    assert reason(client.post(path, json={})) == (422, "VALIDATION_FAILED")
    assert reason(client.post(path, content=b"{", headers={"Content-Type": "text/csv"}))[0] == 415


def test_networks_in_memory_are_told_to_prometheus(
    client: httpx.Client, name: str, sound: dict[str, Any]
) -> None:
    put(client, name, sound["checkpoint"])
    client.post(f"/v1/models/{name}/predict", json=ASKED)
    text = client.get("/metrics").text
    [folded] = [line for line in text.splitlines() if 'loaded_networks{form="folded"}' in line]
    assert float(folded.split()[-1]) >= 1
    assert f'evalmode_model_predictions_total{{model="{name}",version="1"}} 1.0' in text


def test_without_its_dataset_a_network_answers_as_trained(
    client: httpx.Client, service: Any, name: str, npz: Any
) -> None:
    rows = np.random.RandomState(1).standard_normal((100, 4)).astype(np.float32)
    body = npz(inputs=rows, targets=np.arange(100) % 2)
    made = client.post("/v1/datasets?name=passing&format=npz", files={"file": body}).json()
    run = service.train(passes=40, dataset=made["id"], norm="batch", batch_size=4)
    assert client.delete(f"/v1/datasets/{made['id']}").status_code == 204
    serving = put(client, name, run["checkpoint"]).json()["serving"]
    assert (serving["folded"], serving["largest_difference"]) == (False, None)
    assert "no rows of its dataset" in serving["refusal"]
    answer = client.post(f"/v1/models/{name}/predict", json={"inputs": rows[:2].tolist()})
    assert answer.status_code == 200
