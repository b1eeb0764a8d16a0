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
