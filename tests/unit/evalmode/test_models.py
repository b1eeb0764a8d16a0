import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalmode import models
from evalmode.errors import Conflict

ANSWER = {
    "predictions": [{"label": "7", "index": 7, "probability": 0.5}],
    "model": {
        **{"checkpoint": "ckpt_1", "mode": "eval", "statistics": "sha256:0"},
        **{"name": "digits", "version": 2, "revision": None, "warnings": []},
    },
}


@pytest.fixture
def model(answer: Any) -> Any:
    at = "2026-01-01T00:00:00Z"
    return answer(
        {
            "id": "digits",
            "object": "model",
            "name": "digits",
            "version": 2,
            "checkpoint": "ckpt_2",
            "versions": [
                {"version": 2, "checkpoint": "ckpt_2", "created_at": at},
                {"version": 1, "checkpoint": "ckpt_1", "created_at": at},
            ],
            "aliases": {"live": 1},
            "findings": [],
            "created_at": at,
        }
    )


def test_a_checkpoint_is_put_under_a_name(play: Any, model: Any) -> None:
    played = play(models.put("digits", "ckpt_2"), model)
    (request,) = played.requests
    assert (request.method, request.path) == ("PUT", "/v1/models/digits")
    assert request.headers == {"content-type": "application/json"}
    assert json.loads(request.body) == {"checkpoint": "ckpt_2"}
    assert [one.checkpoint for one in played.value.versions] == ["ckpt_2", "ckpt_1"]


def test_a_checkpoint_with_an_error_is_not_served(play: Any, answer: Any) -> None:
    refusal = answer({"reason": "BN_STATS_AT_INIT", "detail": "never updated"}, 409)
    with pytest.raises(Conflict) as refused:
        play(models.put("digits", "ckpt_2"), refusal)
    assert refused.value.reason == "BN_STATS_AT_INIT"


def test_an_alias_is_let_name_a_version_and_dropped(play: Any, answer: Any, model: Any) -> None:
    (request,) = play(models.alias("digits", "live", 1), model).requests
    assert (request.method, request.path) == ("PUT", "/v1/models/digits/aliases/live")
    assert json.loads(request.body) == {"version": 1}
    (request,) = play(models.drop_alias("digits", "live"), answer(b"", 204)).requests
    assert (request.method, request.path) == ("DELETE", "/v1/models/digits/aliases/live")


def test_models_are_listed_read_and_deleted_by_name(play: Any, answer: Any, model: Any) -> None:
    page = {"data": [json.loads(model.body)], "has_more": False, "last_id": "digits"}
    (listed,) = play(models.list_all(), answer(page)).emitted
    assert listed == play(models.get("digits"), model).value
    assert listed.aliases == {"live": 1}
    (request,) = play(models.delete("digits"), answer(b"", 204)).requests
    assert (request.method, request.path) == ("DELETE", "/v1/models/digits")


@pytest.mark.parametrize(
    ("version", "path"),
    [
        (None, "/v1/models/digits/predict"),
        (2, "/v1/models/digits/versions/2/predict"),
        ("live", "/v1/models/digits/versions/live/predict"),
        ("../x", "/v1/models/digits/versions/..%2Fx/predict"),
    ],
)
def test_a_version_is_asked_by_number_or_alias(
    version: Any, path: str, play: Any, answer: Any, tmp_path: Path
) -> None:
    played = play(models.predict("digits", [1, 2], version=version), answer(ANSWER))
    assert played.requests[0].path == path
    assert (played.value.model.name, played.value.model.version) == ("digits", 2)
    np.save(tmp_path / "rows.npy", np.zeros((1, 2)))
    steps = models.predict_file("digits", tmp_path / "rows.npy", "application/x-npy", version)
    (request,) = play(steps, answer(ANSWER)).requests
    assert request.path == path
    assert request.body == (tmp_path / "rows.npy").read_bytes()


@pytest.mark.parametrize(
    ("version", "query"), [(None, {}), (2, {"version": "2"}), ("live", {"version": "live"})]
)
def test_drift_is_that_of_one_version(
    version: Any, query: dict[str, str], play: Any, answer: Any
) -> None:
    channel = {"channel": 3, "score": 9.0, "z": None, "offset": 1.5, "variance_ratio": 1.0}
    layer = {"layer": "1", "score": 0.5, "threshold": 0.25, "largest_channel": channel}
    told = {
        **{"object": "drift", "model": "digits", "version": 2, "checkpoint": "ckpt_2"},
        **{"state": "alarm", "window_rows": 64, "rows": 70, "sizes": [32, 64]},
        **{"largest_window": 64, "alarm": 2.0, "layers": [{**layer, "top_channels": [channel]}]},
        **{"predicted_classes": [{"label": "7", "rows": 70}], "message": "inputs differ"},
    }
    played = play(models.drift("digits", version), answer(told))
    assert (played.requests[0].path, played.requests[0].query) == ("/v1/models/digits/drift", query)
    assert played.value["1"].largest_channel.offset == 1.5
    assert played.value.predicted_classes[0].rows == 70
