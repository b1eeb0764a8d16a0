import json

from evalmode.resources import Event, Predictions


def test_a_time_is_printed_as_the_service_wrote_it() -> None:
    for told in ("2026-01-02T03:04:05.103Z", "2026-01-02T03:04:05.000Z"):
        event = Event(seq=1, at=told, level="info", type="queued", message="")
        assert json.loads(event.model_dump_json())["at"] == told


def test_what_a_prediction_lacks_can_be_left_out_and_missing_numbers_stay() -> None:
    model = {"checkpoint": "ckpt_1", "mode": "eval", "statistics": "sha256:0"}
    told = {"predictions": [{"label": "a", "index": 0}, {"values": [1.5, None]}], "model": model}
    assert json.loads(Predictions.model_validate(told).model_dump_json(exclude_none=True)) == told
