from typing import Any

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


@pytest.mark.parametrize(("revision", "query"), [(None, {}), ("r1", {"revision": "r1"})])
def test_a_run_is_asked_with_its_own_or_with_other_statistics(
    revision: str | None, query: dict[str, str], play: Any, answer: Any
) -> None:
    model = {"checkpoint": "ckpt_1", "mode": "eval", "statistics": "sha256:0"}
    body = {"predictions": [{"label": "7"}], "model": {**model, "revision": revision}}
    played = play(runs.predict("run_1", [1.0], revision=revision), answer(body))
    assert (played.requests[0].path, played.requests[0].query) == ("/v1/runs/run_1/predict", query)
    assert played.value.model.revision == revision


def test_the_history_of_a_run_lies_below_its_statistics(play: Any, answer: Any) -> None:
    told = {"object": "statistics_history", "run": "run_1", "points": []}
    played = play(runs.history("run_1"), answer(told))
    assert played.requests[0].path == "/v1/runs/run_1/statistics/history"
    assert (played.value.run, played.value.points) == ("run_1", [])


@pytest.mark.parametrize(
    ("asked", "query"),
    [
        ({}, {"from_step": "0"}),
        (
            {"kinds": ["moments", "saturation"], "from_step": 7, "max_points": 50},
            {"from_step": "7", "kinds": "moments,saturation", "max_points": "50"},
        ),
    ],
)
def test_what_measures_found_is_read_by_kind(
    asked: dict[str, Any], query: dict[str, str], play: Any, answer: Any
) -> None:
    series = {"steps": [0, 9], "values": [{"rows": 1}, {"rows": None}], "sampled": False, "of": 2}
    told = {"object": "measurements", "series": {"moments": series}}
    played = play(runs.measurements("run_1", **asked), answer(told))
    assert (played.requests[0].path, played.requests[0].query) == (
        "/v1/runs/run_1/measurements",
        query,
    )
    assert played.value["moments"].values[1]["rows"] is None
    assert played.value["moments"].steps == [0, 9]


def test_a_field_that_this_version_does_not_know_is_kept(
    play: Any, answer: Any, make_run: Any
) -> None:
    found = play(runs.get("run_1"), answer(make_run(colour="blue"))).value
    assert found.colour == "blue"


def test_an_id_cannot_leave_its_path() -> None:
    assert runs.run_path("../../health", "cancel") == "/v1/runs/..%2F..%2Fhealth/cancel"
