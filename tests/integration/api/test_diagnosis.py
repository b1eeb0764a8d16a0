"""Running statistics judged and compared over HTTP."""

import hashlib
import math
import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from torch import Tensor

from api.stored import load
from core import checkpoints
from core.checkpoints import NewCheckpoint, Origin
from model.checkpoint import to_bytes
from model.findings import Finding

EPS = 1e-5


def diagnosis(client: httpx.Client, checkpoint_id: str) -> list[dict[str, Any]]:
    answer = client.get(f"/v1/checkpoints/{checkpoint_id}/diagnosis")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["object"], found["checkpoint"]) == ("diagnosis", checkpoint_id)
    findings: list[dict[str, Any]] = found["findings"]
    return findings


def diff(client: httpx.Client, first: str, second: str) -> dict[str, Any]:
    answer = client.get(f"/v1/checkpoints/{first}/diff", params={"with": second})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert (found["object"], found["checkpoint"], found["with"]) == ("diff", first, second)
    return found


Changed = Callable[[dict[str, Tensor], dict[str, str]], bytes]


@pytest.fixture
def put(service: Any, trained: dict[str, Any]) -> Callable[[Changed], str]:
    """Record a checkpoint whose file was made by changing that of `trained`."""

    def record(change: Changed) -> str:
        old = service.database.read(lambda c: checkpoints.get(c, trained["checkpoint"]))
        loaded = load(service.files, old)
        content = change(loaded.network.state_dict(), loaded.about.metadata(loaded.statistics))
        path = service.files.scratch() / secrets.token_hex(8)
        path.write_bytes(content)
        key = f"imports/{path.name}.safetensors"
        service.files.put(path, key)
        digest = hashlib.sha256(content).hexdigest()
        new = NewCheckpoint(1, key, digest, len(content), loaded.statistics, 1, "w", {})
        return service.database.write(lambda c: checkpoints.insert_one(c, new, Origin(old.spec)))

    return record


def test_statistics_that_no_batch_has_moved_are_an_error_with_a_remedy_to_send(
    client: httpx.Client, trained: dict[str, Any]
) -> None:
    [finding] = diagnosis(client, trained["checkpoint"])
    assert (finding["reason"], finding["severity"]) == ("BN_NEVER_UPDATED", "error")
    assert (finding["layer"], finding["evidence"]["batches_tracked"]) == ("1", 0)
    assert f"POST /v1/checkpoints/{trained['checkpoint']}/recalibrate" in finding["remedy"]
    assert "{id}" not in finding["remedy"]


def test_a_network_without_batch_norm_has_no_findings(client: httpx.Client, service: Any) -> None:
    assert diagnosis(client, service.train(norm="none")["checkpoint"]) == []


def test_what_was_found_with_rows_at_hand_counts_and_errors_come_first(
    client: httpx.Client, service: Any, trained: dict[str, Any]
) -> None:
    gap = Finding("BN_TRAIN_EVAL_GAP", "warning", None, {"points": 9.0}, "POST …/{id}/…")
    twice = [
        Finding("BN_NEVER_UPDATED", "error", "1", {"saved": part}, "as it was") for part in "ab"
    ]
    saved = [one.to_json() for one in (gap, *twice)]
    revision = service.add_revision(trained["checkpoint"], shift=0.0, findings=saved)
    found = diagnosis(client, revision)
    assert found == [*saved[1:], saved[0] | {"remedy": f"POST …/{revision}/…"}]


def test_a_file_without_its_statistics_is_diagnosed(
    client: httpx.Client, put: Callable[[Changed], str]
) -> None:
    def without(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
        return to_bytes({n: t for n, t in tensors.items() if n != "1.running_var"}, metadata)

    [finding] = diagnosis(client, put(without))
    assert (finding["reason"], finding["layer"]) == ("BN_STATS_MISSING", "1")
    assert finding["evidence"] == {"missing": ["1.running_var"]}


def test_a_file_with_other_statistics_is_diagnosed(
    client: httpx.Client, put: Callable[[Changed], str]
) -> None:
    def moved(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
        return to_bytes(tensors | {"1.running_mean": tensors["1.running_mean"] + 1}, metadata)

    changed = put(moved)
    [finding] = diagnosis(client, changed)
    assert (finding["reason"], finding["severity"]) == ("BN_FINGERPRINT_MISMATCH", "error")
    assert f"/v1/checkpoints/{changed}/recalibrate" in finding["remedy"]


def test_a_file_that_is_no_checkpoint_is_refused(
    client: httpx.Client, put: Callable[[Changed], str]
) -> None:
    nothing = put(lambda tensors, metadata: b"nothing")
    answer = client.get(f"/v1/checkpoints/{nothing}/diagnosis")
    assert (answer.status_code, answer.json()["reason"]) == (422, "CHECKPOINT_INVALID")


def test_a_shift_of_the_means_is_told_as_the_formulas_say(
    client: httpx.Client, service: Any, trained: dict[str, Any]
) -> None:
    first = service.add_revision(trained["checkpoint"], shift=1.0)
    second = service.add_revision(trained["checkpoint"], shift=3.0)
    [layer] = diff(client, first, second)["layers"]
    variance = 1 + EPS  # as before the first batch
    assert (layer["layer"], layer["channels"]) == ("1", 5)
    assert layer["kl_mean"] == pytest.approx(2.0**2 / variance / 2)
    assert layer["kl_max"] == pytest.approx(layer["kl_mean"])
    assert layer["largest_z"] == pytest.approx(2.0 / math.sqrt(variance))
    assert (layer["mean_cosine"], layer["variance_cosine"]) == (pytest.approx(1), 1.0)
    assert layer["not_finite"] is None


def test_equal_statistics_differ_by_nothing(client: httpx.Client, trained: dict[str, Any]) -> None:
    [layer] = diff(client, trained["checkpoint"], trained["checkpoint"])["layers"]
    assert (layer["kl_max"], layer["largest_z"]) == (0, 0)


def test_a_number_that_is_not_finite_is_null_and_named(
    client: httpx.Client, service: Any, trained: dict[str, Any]
) -> None:
    moved = service.add_revision(trained["checkpoint"], shift=1.0)
    [layer] = diff(client, trained["checkpoint"], moved)["layers"]
    assert (layer["mean_cosine"], layer["not_finite"]) == (None, {"mean_cosine": "nan"})


def test_layers_of_one_network_alone_are_named(
    client: httpx.Client, service: Any, trained: dict[str, Any]
) -> None:
    plain = service.train(norm="none")["checkpoint"]
    found = diff(client, plain, trained["checkpoint"])
    assert (found["layers"], found["only_first"], found["only_second"]) == ([], [], ["1"])


def test_a_layer_of_another_width_is_not_compared(
    client: httpx.Client, service: Any, trained: dict[str, Any]
) -> None:
    wider = service.train(norm="batch", network={"kind": "mlp", "hidden": [6]})["checkpoint"]
    path = f"/v1/checkpoints/{trained['checkpoint']}/diff"
    answer = client.get(path, params={"with": wider})
    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["errors"]] == ["with"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({}, "VALIDATION_FAILED"),
        ({"with": "x"}, "VALIDATION_FAILED"),
        ({"with": f"ckpt_{'0' * 32}"}, "CHECKPOINT_NOT_FOUND"),
    ],
)
def test_what_is_compared_with_must_be_there(
    client: httpx.Client, trained: dict[str, Any], query: dict[str, str], reason: str
) -> None:
    answer = client.get(f"/v1/checkpoints/{trained['checkpoint']}/diff", params=query)
    assert (answer.status_code, answer.json()["reason"]) == (422, reason)
    assert [error["path"] for error in answer.json()["errors"]] == ["with"]
