import json
from typing import Any

import numpy as np
import pytest

from evalmode import runs
from evalmode.errors import NoAnswer, WaitTimeout
from model.spec import RunSpec

SPEC = {"dataset": "digits", "network": {"kind": "mlp"}}


def test_a_submission_repeated_after_a_break_carries_the_same_key(
    play: Any, answer: Any, make_run: Any
) -> None:
    played = play(runs.create(SPEC), NoAnswer("reset"), answer(make_run(), 202))
    first, second = played.requests
    assert first == second
    assert len(first.headers["idempotency-key"]) == 36


def test_two_submissions_draw_two_keys(play: Any, answer: Any, make_run: Any) -> None:
    drawn = [play(runs.create(SPEC), answer(make_run(), 202)).requests[0] for _ in range(2)]
    assert drawn[0].headers["idempotency-key"] != drawn[1].headers["idempotency-key"]


def test_a_given_key_is_sent_as_it_is(play: Any, answer: Any, make_run: Any) -> None:
    steps = runs.create(SPEC, idempotency_key="mine")
    assert play(steps, answer(make_run(), 202)).requests[0].headers["idempotency-key"] == "mine"


@pytest.mark.parametrize(
    ("spec", "fields", "body"),
    [
        (None, SPEC, SPEC),
        (SPEC, {"seed": 3}, {**SPEC, "seed": 3}),
        (SPEC, {"dataset": "wine"}, {**SPEC, "dataset": "wine"}),
        (RunSpec.model_validate(SPEC), {}, SPEC),
    ],
)
def test_fields_win_over_the_spec_and_defaults_are_left_to_the_service(
    spec: Any, fields: dict[str, Any], body: dict[str, Any]
) -> None:
    assert runs.spec_body(spec, fields) == body


def test_waiting_gives_up_with_the_run_as_it_was_last_seen(
    play: Any, answer: Any, make_run: Any
) -> None:
    with pytest.raises(WaitTimeout, match=r"run_1 is running after 0.1 s") as caught:
        play(runs.wait("run_1", timeout=0.1), *[answer(make_run("running"))] * 2)
    assert caught.value.last_seen.state == "running"


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_waiting_ends_with_every_state_that_is_final(
    state: str, play: Any, answer: Any, make_run: Any
) -> None:
    assert play(runs.wait("run_1"), answer(make_run(state))).value.is_ended


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
    played = play(runs.predict("run_1", inputs), answer(body))
    request = played.requests[0]
    assert request.headers["x-shape"] == shape
    sent = np.frombuffer(request.body, "<f4")
    np.testing.assert_array_equal(sent, np.asarray(inputs, "<f4").ravel())
    assert played.value.labels == ["7"]


def test_what_is_asked_for_besides_the_prediction_is_asked_in_json(play: Any, answer: Any) -> None:
    model = {"checkpoint": "ckpt_1", "mode": "eval", "statistics": "sha256:0"}
    body = {"predictions": [{"values": [0.5]}], "logits": [[0.5]], "model": model}
    played = play(runs.predict("run_1", [0.25, 1], "logits"), answer(body))
    assert json.loads(played.requests[0].body) == {"inputs": [[0.25, 1.0]], "return": ["logits"]}
    assert played.value.logits == [[0.5]]


def test_a_field_that_this_version_does_not_know_is_kept(
    play: Any, answer: Any, make_run: Any
) -> None:
    found = play(runs.get("run_1"), answer(make_run(colour="blue"))).value
    assert found.colour == "blue"


def test_an_id_cannot_leave_its_path() -> None:
    assert runs.run_path("../../health", "cancel") == "/v1/runs/..%2F..%2Fhealth/cancel"
