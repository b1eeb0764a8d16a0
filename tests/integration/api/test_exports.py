"""Exports over HTTP: another runtime gives the answers of the service."""

import json
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch
from torch import nn

from model.data.builtin import build
from model.data.scaling import Scaling

ROWS = build("digits").inputs[:20]


def logits(client: httpx.Client, run: dict[str, Any]) -> np.ndarray:
    body = {"inputs": ROWS.tolist(), "return": ["logits"]}
    return np.array(client.post(f"/v1/runs/{run['id']}/predict", json=body).json()["logits"])


def exported(client: httpx.Client, run: dict[str, Any], format: str) -> httpx.Response:
    return client.get(f"/v1/checkpoints/{run['checkpoint']}/export", params={"format": format})


def test_onnx_takes_raw_rows_and_gives_the_logits_of_the_service(
    client: httpx.Client, trained: dict[str, Any]
) -> None:
    answer = exported(client, trained, "onnx")
    assert answer.status_code == 200
    assert float(answer.headers["largest-difference"]) < 1e-5
    session = onnxruntime.InferenceSession(answer.content, providers=["CPUExecutionProvider"])
    [found] = session.run(None, {"rows": ROWS.astype(np.float64)})
    expected = logits(client, trained)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_folded_file_loads_into_layers_without_a_norm(
    client: httpx.Client, trained: dict[str, Any]
) -> None:
    answer = exported(client, trained, "safetensors_folded")
    tensors = safetensors.torch.load(answer.content)
    network = nn.Sequential(nn.Linear(64, 5), nn.Identity(), nn.Tanh(), nn.Linear(5, 10))
    network.load_state_dict(tensors, strict=True)
    length = int.from_bytes(answer.content[:8], "little")
    about = json.loads(answer.content[8 : 8 + length])["__metadata__"]
    assert json.loads(about["comparison"])["difference"] < 1e-5
    scaled = Scaling.from_json(json.loads(about["scaling"])).apply(ROWS, dtype=np.float32)
    expected = logits(client, trained)
    found = network(torch.from_numpy(scaled)).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("query", [{}, {"format": "pickle"}])
def test_a_form_that_is_not_written_is_refused_by_name(
    client: httpx.Client, trained: dict[str, Any], query: dict[str, str]
) -> None:
    answer = client.get(f"/v1/checkpoints/{trained['checkpoint']}/export", params=query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "format"


def test_what_cannot_be_compared_is_not_sent(client: httpx.Client, service: Any, npz: Any) -> None:
    body = npz(inputs=np.zeros((40, 3), np.float32), targets=np.arange(40) % 2)
    made = client.post("/v1/datasets?name=leaving&format=npz", files={"file": body}).json()["id"]
    run = service.train(norm="batch", dataset=made)
    client.delete(f"/v1/datasets/{made}")
    for format in ("onnx", "safetensors_folded"):
        answer = exported(client, run, format)
        assert (answer.status_code, answer.json()["reason"]) == (422, "EXPORT_REFUSED")
        assert "no rows of its dataset to compare" in answer.json()["detail"]


def test_rows_that_the_network_cannot_answer_are_no_fault_of_the_request(
    client: httpx.Client, service: Any
) -> None:
    """An import may name a dataset and take rows of another shape."""
    about = {"input_shape": [3], "outputs": 1}
    spec = {"dataset": "digits", "network": {"kind": "mlp", "hidden": []}, "norm": "none"}
    file = safetensors.torch.save({"0.weight": torch.ones(1, 3), "0.bias": torch.zeros(1)})
    parts = {"file": file, "spec": json.dumps(spec).encode(), "about": json.dumps(about).encode()}
    made = client.post("/v1/checkpoints", files=parts).json()["id"]
    answer = exported(client, {"checkpoint": made}, "onnx")
    assert (answer.status_code, answer.json()["reason"]) == (422, "EXPORT_REFUSED")
    assert "expected rows of shape [3]" in answer.json()["detail"]
    assert "errors" not in answer.json()
