"""Running statistics over HTTP: the numbers in the file, told layer by layer."""

from typing import Any

import httpx
import numpy as np
import pytest
import safetensors.numpy


def path(run: dict[str, Any]) -> str:
    return f"/v1/checkpoints/{run['checkpoint']}/statistics"


def test_each_norm_layer_tells_its_convention_and_its_age(
    client: httpx.Client, trained: dict[str, Any]
) -> None:
    found = client.get(path(trained)).json()
    checkpoint = client.get(f"/v1/checkpoints/{trained['checkpoint']}").json()
    assert (found["object"], found["checkpoint"]) == ("statistics", trained["checkpoint"])
    assert found["fingerprint"] == checkpoint["statistics"]["fingerprint"]
    [layer] = found["layers"]
    assert (layer["layer"], layer["kind"], layer["channels"]) == ("1", "batch", 5)
    assert (layer["momentum"], layer["eps"], layer["affine"]) == (0.1, 1e-5, True)
    assert layer["share_of_initial"] == pytest.approx(0.9 ** layer["batches_tracked"])
    assert (layer["window_batches"], layer["trustworthy_step"]) == (19.0, 29)
    assert layer["fingerprint"].startswith("sha256:")
    assert layer["values"] is None


def test_the_vectors_are_those_of_the_file(client: httpx.Client, trained: dict[str, Any]) -> None:
    [layer] = client.get(path(trained), params={"layer": "1", "values": "true"}).json()["layers"]
    file = client.get(f"/v1/checkpoints/{trained['checkpoint']}/download").content
    tensors = safetensors.numpy.load(file)
    for name, stored in {
        "mean": "running_mean",
        "variance": "running_var",
        "gain": "weight",
    }.items():
        expected = tensors[f"1.{stored}"].astype(np.float64)
        assert layer["values"][name] == expected.tolist()
        assert layer[name]["mean"] == pytest.approx(expected.mean())


@pytest.mark.parametrize(
    ("norm", "running", "normalize", "counted"),
    [
        ("noisy_batch", "variance", "biased", 4),
        ({"kind": "ghost_batch", "group_size": 16}, "variance", "biased", 4 * 4),
        ({"kind": "batch_renorm", "running": "deviation"}, "deviation", "biased", 4),
        ({"kind": "lp", "p": "inf"}, "scale", None, 4),
    ],
    ids=str,
)
def test_every_kind_with_running_statistics_tells_them(
    client: httpx.Client, service: Any, norm: Any, running: str, normalize: str, counted: int
) -> None:
    """Of 4 batches of 64 rows, each 4 groups of 16."""
    run = service.train(passes=4, norm=norm)
    [layer] = client.get(path(run), params={"values": "true"}).json()["layers"]
    assert layer["kind"] == run["spec"]["norm"]["kind"]
    assert (layer["running"], layer["normalize"]) == (running, normalize)
    assert layer["batches_tracked"] == counted
    assert layer["share_of_initial"] == pytest.approx(0.9**counted)
    file = client.get(f"/v1/checkpoints/{run['checkpoint']}/download").content
    stored = safetensors.numpy.load(file)
    name = "running_var" if running == "variance" else f"running_{running}"
    spread = stored[f"1.{name}"].astype(np.float64)
    expected = spread if running == "variance" else spread**2
    assert layer["values"]["variance"] == expected.tolist()


def test_a_network_without_batch_norm_has_no_layers(client: httpx.Client, service: Any) -> None:
    assert client.get(path(service.train(norm="none"))).json()["layers"] == []


def test_the_gap_is_the_one_that_was_measured_with_rows(
    client: httpx.Client, scored: dict[str, Any], trained: dict[str, Any]
) -> None:
    [one, *_] = scored["checkpoints"]
    gap = client.get(f"/v1/checkpoints/{one}/statistics").json()["train_eval_gap"]
    metrics = client.get(f"/v1/checkpoints/{one}").json()["metrics"]
    assert gap["rows"] == 359
    assert gap["points"] == metrics["train_eval_gap"]
    assert gap["loss"] == metrics["train_eval_gap_loss"]
    assert [layer["layer"] for layer in gap["layers"]] == ["1"]
    assert sum(layer["points"] for layer in gap["layers"]) == pytest.approx(gap["points"])
    assert client.get(path(trained)).json()["train_eval_gap"] is None


def test_a_revision_has_its_own_gap_and_no_point_of_the_run(
    client: httpx.Client, service: Any, trained: dict[str, Any]
) -> None:
    layer = {"layer": "1", "points": 0.5, "loss": 0.25}
    gap = {"rows": 359, "points": 0.5, "loss": 0.25, "p_value": 0.5, "layers": [layer]}
    told = {"rows": 1438, "layers": [], "train_eval_gap": gap}
    revision = service.add_revision(trained["checkpoint"], history=told)
    url = f"/v1/checkpoints/{revision}/statistics"
    assert client.get(url).json()["train_eval_gap"] == gap
    assert client.get(f"{url}/history").json()["points"] == []


def test_a_layer_that_is_not_there_is_named(client: httpx.Client, trained: dict[str, Any]) -> None:
    answer = client.get(path(trained), params={"layer": "nowhere"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "layer"


def test_a_checkpoint_that_is_not_there_is_404(client: httpx.Client) -> None:
    answer = client.get(f"/v1/checkpoints/ckpt_{'0' * 32}/statistics")
    assert (answer.status_code, answer.json()["reason"]) == (404, "CHECKPOINT_NOT_FOUND")
