import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalmode import predictions

PATH = "/v1/runs/run_1/predict"
MODEL = {"checkpoint": "ckpt_1", "mode": "eval", "statistics": "sha256:0"}


@pytest.mark.parametrize(
    ("inputs", "shape"),
    [
        ([1, 2, 3], "1,3"),
        ([[1, 2, 3], [4, 5, 6]], "2,3"),
        (np.zeros((2, 1, 4, 4), np.float64), "2,1,4,4"),
        (np.asfortranarray(np.arange(6.0).reshape(2, 3)), "2,3"),
    ],
)
def test_rows_are_sent_as_row_major_float32(
    inputs: Any, shape: str, play: Any, answer: Any
) -> None:
    body = {
        "predictions": [{"label": "7", "index": 7, "probability": 0.5}],
        "model": {"checkpoint": "ckpt_1", "mode": "eval", "statistics": "sha256:0"},
    }
    played = play(predictions.ask(PATH, inputs, (), None), answer(body))
    request = played.requests[0]
    assert request.headers["x-shape"] == shape
    sent = np.frombuffer(request.body, "<f4")
    np.testing.assert_array_equal(sent, np.asarray(inputs, "<f4").ravel())
    assert played.value.labels == ["7"]


def test_what_is_asked_for_besides_the_prediction_is_asked_in_json(play: Any, answer: Any) -> None:
    model = {"checkpoint": "ckpt_1", "mode": "eval", "statistics": "sha256:0"}
    body = {"predictions": [{"values": [0.5]}], "logits": [[0.5]], "model": model}
    played = play(predictions.ask(PATH, [0.25, 1], ("logits",), None), answer(body))
    assert json.loads(played.requests[0].body) == {"inputs": [[0.25, 1.0]], "return": ["logits"]}
    assert played.value.logits == [[0.5]]


@pytest.mark.parametrize("extra", [(), ("logits",)])
def test_a_revision_is_named_in_the_query_whatever_the_body_is(
    extra: Any, play: Any, answer: Any
) -> None:
    body = {"predictions": [{"values": [0.5]}], "model": {**MODEL, "revision": "r1"}}
    played = play(predictions.ask(PATH, [1.0], extra, "r1"), answer(body))
    assert played.requests[0].query == {"revision": "r1"}


def test_a_file_is_sent_as_it_is(play: Any, answer: Any, tmp_path: Path) -> None:
    (tmp_path / "digit.png").write_bytes(b"a picture")
    body = {"predictions": [{"values": [0.5]}], "model": MODEL}
    steps = predictions.ask_file(PATH, tmp_path / "digit.png", "image/png", None)
    (request,) = play(steps, answer(body)).requests
    assert (request.body, request.query) == (b"a picture", {})
    assert request.headers == {"content-type": "image/png"}
