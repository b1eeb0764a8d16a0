"""Imports over HTTP: what comes in answers as before, and a refused one leaves nothing."""

import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from core import checkpoints
from core.settings import Settings
from model.data.builtin import build
from model.data.dataset import Dataset
from model.spec import RunSpec
from model.training.arrays import prepare

SPEC: dict[str, Any] = {
    "dataset": "digits",
    "network": {"kind": "mlp", "hidden": [7]},
    "norm": "batch",
}
DIGITS: Dataset = build("digits")
PLAIN = {"input_shape": [64], "classes": list("abcdefghij")}
LOSS = {"kind": "cross_entropy"}
State = dict[str, Tensor]


def network(seed: int = 0) -> nn.Sequential:
    """64-7-10 with batch norm whose statistics have moved, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = nn.Sequential(nn.Linear(64, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 10))
        for _ in range(60):
            made(torch.randn(50, 64))
    return made.eval()


def form(state: State | bytes | None, spec: Any = SPEC, about: Any = None) -> dict[str, Any]:
    """The parts of an import, as httpx sends them."""
    content = safetensors.torch.save(state) if isinstance(state, dict) else state
    parts = {"file": content, "spec": as_json(spec), "about": as_json(about)}
    return {name: part for name, part in parts.items() if part is not None}


def as_json(value: Any) -> bytes | None:
    return value if isinstance(value, bytes | None) else json.dumps(value).encode()


@pytest.fixture
def take(client: httpx.Client) -> Callable[..., dict[str, Any]]:
    """Imports a state dict, and gives the checkpoint that it became."""

    def post(*parts: Any, **more: Any) -> dict[str, Any]:
        answer = client.post("/v1/checkpoints", files=form(*parts, **more))
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        assert answer.headers["location"] == f"/v1/checkpoints/{found['id']}"
        assert client.get(answer.headers["location"]).json() == found
        return found

    return post


def test_a_dataset_of_ours_gives_shape_classes_and_scaling(
    client: httpx.Client, take: Callable[..., dict[str, Any]]
) -> None:
    found = take(network().state_dict(), about={"step": 60, "batches": 60})
    assert (found["object"], found["run"], found["step"]) == ("checkpoint", None, 60)
    assert (found["metrics"], found["findings"], found["made_by"]) == ({}, [], None)
    assert (found["spec"]["dataset"], found["spec"]["scaling"]) == ("digits", "standard")
    report = found["import"]
    assert (report["naming"], report["renamed"], report["filled"]) == ("own", {}, [])
    assert report["scaling"] == {"kind": "standard", "from": "rows"}
    fitted = prepare(DIGITS, RunSpec.model_validate(SPEC | {"loss": LOSS}), torch.device("cpu"))
    file = client.get(f"/v1/checkpoints/{found['id']}/download").content
    length = int.from_bytes(file[:8], "little")
    stored = json.loads(json.loads(file[8 : 8 + length])["__metadata__"]["scaling"])
    assert stored == fitted.scaling.to_json()


def test_what_comes_in_answers_as_before(
    client: httpx.Client, service: Any, take: Callable[..., dict[str, Any]]
) -> None:
    theirs, rows = network(), np.random.default_rng(0).normal(size=(9, 64)).astype(np.float32)
    found = take(theirs.state_dict(), {"network": SPEC["network"], "norm": "batch"}, PLAIN)
    assert found["import"]["scaling"] == {"kind": "none", "from": None}
    assert found["spec"]["dataset"] == "elsewhere"
    with torch.no_grad():
        expected = theirs(torch.from_numpy(rows)).numpy()
    tensors = safetensors.torch.load(client.get(f"/v1/checkpoints/{found['id']}/download").content)
    again = network(1)
    again.load_state_dict(tensors, strict=True)
    with torch.no_grad():
        np.testing.assert_allclose(again(torch.from_numpy(rows)).numpy(), expected)
    layers = client.get(f"/v1/checkpoints/{found['id']}/statistics").json()["layers"]
    assert [layer["batches_tracked"] for layer in layers] == [60]


def test_a_scaling_of_its_own_is_kept(
    client: httpx.Client, take: Callable[..., dict[str, Any]]
) -> None:
    scaling = {"kind": "minmax", "divisor": 1.0, "shift": [0.5] * 64, "scale": [2.0] * 64}
    found = take(network().state_dict(), about={"scaling": scaling})
    assert found["import"]["scaling"] == {"kind": "minmax", "from": "about"}
    assert found["spec"]["scaling"] == "minmax"


def test_a_file_of_ours_comes_back_as_it_was(
    client: httpx.Client, trained: dict[str, Any], take: Callable[..., dict[str, Any]]
) -> None:
    before = client.get(f"/v1/checkpoints/{trained['checkpoint']}").json()
    file = client.get(f"/v1/checkpoints/{trained['checkpoint']}/download").content
    spec = {name: trained["spec"][name] for name in ("dataset", "network", "norm")}
    found = take(file, spec)
    assert (found["step"], found["statistics"]) == (before["step"], before["statistics"])
    assert found["import"]["scaling"] == {"kind": "none", "from": "file"}
    told = take(file, spec, {"step": 900})
    assert told["step"] == 900


def test_averaged_weights_are_an_error_until_they_are_recalibrated(
    client: httpx.Client, take: Callable[..., dict[str, Any]]
) -> None:
    average = AveragedModel(network())
    average.update_parameters(network())
    found = take(average.state_dict())
    assert (found["import"]["wrapper"], found["import"]["averaged"]) == ("module.", True)
    assert found["import"]["renamed"]["module.0.weight"] == "0.weight"
    told = client.get(f"/v1/checkpoints/{found['id']}/diagnosis").json()["findings"]
    assert [one["reason"] for one in told] == ["BN_AVERAGED_NOT_RECALIBRATED"]
    assert [one["reason"] for one in found["findings"]] == ["BN_AVERAGED_NOT_RECALIBRATED"]
    answer = client.post(f"/v1/checkpoints/{found['id']}/recalibrate", json={})
    assert (answer.status_code, answer.json()["dataset"]) == (202, "ds_digits")


def test_a_counter_that_is_missing_is_told_and_its_age_is_unknown(
    client: httpx.Client, take: Callable[..., dict[str, Any]]
) -> None:
    state = network().state_dict()
    del state["1.num_batches_tracked"]
    found = take(state)
    assert found["import"]["filled"] == ["1.num_batches_tracked"]
    [layer] = client.get(f"/v1/checkpoints/{found['id']}/statistics").json()["layers"]
    assert layer["batches_tracked"] is None
    assert client.get(f"/v1/checkpoints/{found['id']}/diagnosis").json()["findings"] == []


def test_statistics_that_were_to_stay_are_compared(
    client: httpx.Client, take: Callable[..., dict[str, Any]]
) -> None:
    first = take(network().state_dict())["id"]
    frozen = {"frozen": {"from": first, "layers": ["1"]}}
    assert take(network().state_dict(), about=frozen)["findings"] == []
    moved = network().state_dict()
    moved["1.running_mean"] = moved["1.running_mean"] + 1
    [finding] = take(moved, about=frozen)["findings"]
    assert (finding["reason"], finding["layer"]) == ("BN_FROZEN_CHANGED", "1")


def test_an_import_that_no_dataset_belongs_to_needs_rows_to_be_recalibrated(
    client: httpx.Client, take: Callable[..., dict[str, Any]]
) -> None:
    for name in ({}, {"dataset": "digits"}, {"dataset": "wine"}):
        spec = {"network": SPEC["network"], "norm": "batch"} | name
        found = take(network().state_dict(), spec, PLAIN)
        path = f"/v1/checkpoints/{found['id']}/recalibrate"
        refused = client.post(path, json={})
        assert (refused.status_code, refused.json()["reason"]) == (422, "DATASET_NOT_FOUND")
        assert client.post(path, json={"dataset": "digits"}).status_code == 202
        assert client.post(path, json={"rows": [[1] * 64, [2] * 64]}).status_code == 202


def test_an_import_is_deleted_with_its_revisions_and_their_files(
    client: httpx.Client, service: Any, stored: Any
) -> None:
    files, headers = stored(service), {"Idempotency-Key": "deleted"}
    parts = form(network().state_dict())
    first = client.post("/v1/checkpoints", files=parts, headers=headers).json()["id"]
    revision = service.add_revision(first)
    assert client.delete(f"/v1/checkpoints/{first}").status_code == 204
    assert client.get(f"/v1/checkpoints/{revision}").status_code == 404
    assert stored(service) == files
    again = client.post("/v1/checkpoints", files=parts, headers=headers)
    assert (again.status_code, again.json()["id"] != first) == (201, True)


def test_a_repeated_import_gives_the_same_checkpoint_again(
    client: httpx.Client, service: Any, stored: Any
) -> None:
    headers = {"Idempotency-Key": "import"}
    first = client.post("/v1/checkpoints", files=form(network().state_dict()), headers=headers)
    files = stored(service)
    second = client.post("/v1/checkpoints", files=form(network().state_dict()), headers=headers)
    assert (second.status_code, second.json()) == (201, first.json())
    assert second.headers["idempotent-replay"] == "true"
    assert stored(service) == files
    other = client.post("/v1/checkpoints", files=form(network(1).state_dict()), headers=headers)
    assert (other.status_code, other.json()["reason"]) == (422, "IDEMPOTENCY_MISMATCH")


@pytest.mark.usefixtures("lost_answers")
def test_a_file_stays_where_it_may_have_been_recorded(
    client: httpx.Client, service: Any, stored: Any
) -> None:
    answer = client.post("/v1/checkpoints", files=form(network(9).state_dict()))
    assert answer.status_code == 503
    newest = service.database.read(lambda c: checkpoints.page(c, limit=1)).data[0]
    assert newest.run_id is None
    assert newest.key in stored(service)


def test_a_key_whose_import_was_bad_may_be_used_again(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "bad import"}
    bad = client.post("/v1/checkpoints", files=form(b"bad"), headers=headers)
    good = client.post("/v1/checkpoints", files=form(network().state_dict()), headers=headers)
    assert (bad.status_code, good.status_code) == (422, 201)


def changed(**tensors: Tensor | None) -> State:
    state = network().state_dict() | tensors
    return {name: one for name, one in state.items() if one is not None}


def saved_by_torch() -> bytes:
    sink = io.BytesIO()
    torch.save(network().state_dict(), sink)
    return sink.getvalue()


INVALID = "CHECKPOINT_INVALID"
NOTHING = f"ckpt_{'0' * 32}"
SCALING = {"kind": "standard", "divisor": 1, "shift": [0] * 64, "scale": [1] * 64}
WIDE = {"kind": "mlp", "hidden": [65_536, 65_536]}
#: 4,096 channels of four million positions: 64 GiB a row, from a file of a hundred kilobytes.
VAST = {
    "kind": "layers",
    "layers": [
        {"kind": "conv2d", "out_channels": 4096, "kernel_size": 1},
        {"kind": "norm"},
        {"kind": "pool", "pool": "global_avg"},
        {"kind": "flatten"},
        {"kind": "linear"},
    ],
}
IMAGE = {"input_shape": [1, 2048, 2048], "classes": ["a", "b"]}
BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "no statistics": (form(changed(**{"1.running_var": None})), 422, "BN_STATS_MISSING"),
    "a tensor missing": (form(changed(**{"3.bias": None})), 422, "SHAPE_MISMATCH"),
    "a tensor too many": (form(changed(x=torch.zeros(3))), 422, "SHAPE_MISMATCH"),
    "another shape": (form(changed(**{"3.bias": torch.zeros(9)})), 422, "SHAPE_MISMATCH"),
    "another type": (form(changed(**{"3.bias": torch.zeros(10).int()})), 422, "SHAPE_MISMATCH"),
    "a weight of NaN": (form(changed(**{"3.bias": torch.full((10,), torch.nan)})), 422, INVALID),
    "no file": (form(None), 422, "VALIDATION_FAILED"),
    "an empty file": (form(b""), 422, INVALID),
    "no safetensors": (form(b"\x08\0\0\0\0\0\0\0nonsense"), 422, INVALID),
    "torch.save": (form(saved_by_torch()), 415, "UNSUPPORTED_FORMAT"),
    "pickle": (form(b"\x80\x04\x95\x0b."), 415, "UNSUPPORTED_FORMAT"),
    "no spec": (form(changed(), None), 422, "VALIDATION_FAILED"),
    "a spec that is no JSON": (form(changed(), b"{"), 400, "MALFORMED_JSON"),
    "NaN in a spec": (form(changed(), b'{"seed": NaN}'), 400, "MALFORMED_JSON"),
    "2 MB of spec": (form(changed(), b" " * 2_000_000), 413, "BODY_TOO_LARGE"),
    "2 MB of about": (form(changed(), SPEC, b" " * 2_000_000), 413, "BODY_TOO_LARGE"),
    "an about that is no JSON": (form(changed(), SPEC, b"{"), 400, "MALFORMED_JSON"),
    "too large": (form(changed(), SPEC | {"network": WIDE}), 422, "MODEL_TOO_LARGE"),
    "too large to answer": (form(changed(), {"network": VAST}, IMAGE), 422, "MODEL_TOO_LARGE"),
    "no such dataset": (form(changed(), SPEC | {"dataset": "x"}), 422, "DATASET_NOT_FOUND"),
    "frozen in nothing": (
        form(changed(), SPEC, {"frozen": {"from": NOTHING, "layers": ["1"]}}),
        422,
        "CHECKPOINT_NOT_FOUND",
    ),
}


@pytest.mark.parametrize(("parts", "status", "reason"), BAD.values(), ids=BAD)
def test_a_refused_import_leaves_nothing_behind(
    client: httpx.Client,
    service: Any,
    stored: Any,
    parts: dict[str, Any],
    status: int,
    reason: str,
) -> None:
    files = stored(service)
    answer = client.post("/v1/checkpoints", files=parts)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert stored(service) == files
    assert list(service.files.scratch().iterdir()) == []


def test_every_tensor_at_fault_is_named(client: httpx.Client) -> None:
    state = changed(x=torch.zeros(3), **{"1.running_mean": None, "3.bias": torch.zeros(9)})
    problem = client.post("/v1/checkpoints", files=form(state)).json()
    assert problem["metadata"]["missing"] == ["1.running_mean"]
    assert problem["metadata"]["unexpected"] == ["x"]
    assert problem["metadata"]["wrong_shape"] == ["3.bias: expected (10,), got (9,)"]


FIELDS: dict[str, tuple[Any, Any, str]] = {
    "no network": ({"dataset": "digits"}, None, "spec.network"),
    "a list": ([], None, "spec"),
    "an unknown field": (SPEC | {"tenant": "me"}, None, "spec.tenant"),
    "no such dataset": (SPEC | {"dataset": "x"}, None, "spec.dataset"),
    "layers that do not fit": (
        SPEC | {"network": {"kind": "layers", "layers": [{"kind": "conv2d", "out_channels": 3}]}},
        None,
        "spec.network.layers.0",
    ),
    "too large": (SPEC | {"network": WIDE}, None, "spec.network"),
    "another scaling than its own": (
        SPEC | {"scaling": "none"},
        {"scaling": SCALING},
        "about.scaling",
    ),
    "an about that is a list": (SPEC, [], "about"),
    "a field that is unknown": (SPEC, {"labels": {}}, "about.labels"),
    "no axes": (SPEC, {"input_shape": []}, "about.input_shape"),
    "an axis of 0": (SPEC, {"input_shape": [0]}, "about.input_shape.0"),
    "an axis of 2**40": (SPEC, {"input_shape": [2**40]}, "about.input_shape.0"),
    "16 million numbers": (SPEC, {"input_shape": [4096, 4096], "outputs": 1}, "about.input_shape"),
    "neither classes nor outputs": (SPEC, {"input_shape": [64]}, "about"),
    "classes and outputs": (SPEC, PLAIN | {"outputs": 10}, "about"),
    "pixels of one axis": (SPEC, PLAIN | {"images": True}, "about"),
    "a class twice": (SPEC, PLAIN | {"classes": ["a"] * 10}, "about.classes"),
    "a class with an escape": (SPEC, PLAIN | {"classes": ["a\x1b"]}, "about.classes.0"),
    "classes without a shape": (SPEC, {"classes": ["a"]}, "about.classes"),
    "outputs without a shape": (SPEC, {"outputs": 3}, "about.outputs"),
    "step -1": (SPEC, {"step": -1}, "about.step"),
    "step 1.0": (SPEC, {"step": 1.0}, "about.step"),
    "batches of true": (SPEC, {"batches": True}, "about.batches"),
    "a scaling of nothing": (SPEC, {"scaling": {}}, "about.scaling"),
    "a scaling of words": (SPEC, {"scaling": SCALING | {"shift": ["a"] * 64}}, "about.scaling"),
    "a scaling of another width": (SPEC, {"scaling": SCALING | {"shift": [0]}}, "about.scaling"),
    "a scale of 0": (SPEC, {"scaling": SCALING | {"scale": [0] * 64}}, "about.scaling"),
    "frozen in nothing": (
        SPEC,
        {"frozen": {"from": NOTHING, "layers": ["1"]}},
        "about.frozen.from",
    ),
    "nothing frozen": (
        SPEC,
        {"frozen": {"from": NOTHING, "layers": []}},
        "about.frozen.layers",
    ),
}


@pytest.mark.parametrize(("spec", "about", "path"), FIELDS.values(), ids=FIELDS)
def test_the_field_at_fault_is_named_with_its_part(
    client: httpx.Client, spec: Any, about: Any, path: str
) -> None:
    answer = client.post("/v1/checkpoints", files=form(changed(), spec, about))
    assert answer.status_code == 422, answer.text
    assert [error["path"] for error in answer.json()["errors"]] == [path]


def test_a_frozen_layer_must_be_one_of_both_networks(
    client: httpx.Client, service: Any, take: Callable[..., dict[str, Any]]
) -> None:
    deeper = service.train(norm="batch", network={"kind": "mlp", "hidden": [5, 5]})["checkpoint"]
    first = take(network().state_dict())["id"]
    for origin, layer in ((first, "0"), (first, "4"), (deeper, "4")):
        frozen = {"frozen": {"from": origin, "layers": [layer]}}
        answer = client.post("/v1/checkpoints", files=form(changed(), SPEC, frozen))
        assert answer.status_code == 422
        assert [one["path"] for one in answer.json()["errors"]] == ["about.frozen.layers"]


def test_a_split_that_leaves_no_training_rows_fits_no_scaling(client: httpx.Client) -> None:
    spec = SPEC | {"split": {"test": 0.9999}}
    answer = client.post("/v1/checkpoints", files=form(changed(), spec))
    assert answer.status_code == 422
    assert [one["path"] for one in answer.json()["errors"]] == ["spec.split"]


def test_an_upload_over_the_limit_is_413(
    serve: Any, shared_redis: Any, tmp_path: Any, stored: Any
) -> None:
    settings = Settings(
        data=tmp_path,
        port=0,
        broker_url=shared_redis.url,
        min_free_bytes=0,
        upload_body_bytes=1_000,
    )
    with serve(settings) as service, httpx.Client(base_url=service.url) as client:
        files = stored(service)
        answer = client.post("/v1/checkpoints", files=form(changed()))
        assert (answer.status_code, answer.json()["reason"]) == (413, "BODY_TOO_LARGE")
        assert stored(service) == files
