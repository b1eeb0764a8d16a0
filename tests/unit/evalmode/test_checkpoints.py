from typing import Any

import pytest

from evalmode import checkpoints
from evalmode.errors import Conflict

PLACE = "/v1/checkpoints/ckpt_1"


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({}, {}),
        ({"layer": "1"}, {"layer": "1"}),
        ({"values": True}, {"values": "true"}),
        ({"layer": "4.branch.0", "values": True}, {"layer": "4.branch.0", "values": "true"}),
    ],
)
def test_only_what_is_wanted_of_the_statistics_is_asked_for(
    arguments: dict[str, Any], query: dict[str, str], play: Any, answer: Any
) -> None:
    told = {"checkpoint": "ckpt_1", "fingerprint": "sha256:0", "layers": []}
    played = play(checkpoints.statistics("ckpt_1", **arguments), answer(told))
    (request,) = played.requests
    assert (request.method, request.path, request.query) == ("GET", f"{PLACE}/statistics", query)
    assert played.value.fingerprint == "sha256:0"


def test_a_diagnosis_tells_its_errors_apart(play: Any, answer: Any) -> None:
    findings = [
        {"reason": "BN_STATS_LAG", "severity": "warning", "layer": "1", "remedy": "recalibrate"},
        {"reason": "BN_STATS_AT_INIT", "severity": "error", "layer": "4", "remedy": "recalibrate"},
    ]
    told = {"object": "diagnosis", "checkpoint": "ckpt_1", "findings": findings}
    played = play(checkpoints.diagnosis("ckpt_1"), answer(told))
    assert played.requests[0].path == f"{PLACE}/diagnosis"
    assert [finding.layer for finding in played.value.errors] == ["4"]


def test_a_comparison_names_the_other_checkpoint_in_its_query(play: Any, answer: Any) -> None:
    told = {"checkpoint": "ckpt_1", "with": "ckpt/2", "layers": []}
    told |= {"only_first": ["1"], "only_second": []}
    played = play(checkpoints.diff("ckpt_1", "ckpt/2"), answer(told))
    assert played.requests[0].path == f"{PLACE}/diff"
    assert played.requests[0].query == {"with": "ckpt/2"}
    assert (played.value.other, played.value.only_first) == ("ckpt/2", ["1"])


def test_a_history_lies_below_the_statistics(play: Any, answer: Any) -> None:
    told = {"object": "statistics_history", "run": None, "points": []}
    played = play(checkpoints.history("ckpt_1"), answer(told))
    assert played.requests[0].path == f"{PLACE}/statistics/history"


def test_a_checkpoint_of_a_run_is_not_deleted_by_itself(play: Any, answer: Any) -> None:
    refusal = answer({"reason": "CHECKPOINT_OF_RUN", "detail": "delete the run"}, 409)
    with pytest.raises(Conflict) as refused:
        play(checkpoints.delete("ckpt_1"), refusal)
    assert refused.value.reason == "CHECKPOINT_OF_RUN"


def test_a_deleted_checkpoint_answers_nothing(play: Any, answer: Any) -> None:
    played = play(checkpoints.delete("ckpt_1"), answer(b"", 204))
    assert (played.requests[0].method, played.requests[0].path) == ("DELETE", PLACE)
    assert played.value is None


def test_an_id_cannot_leave_its_path() -> None:
    path = checkpoints.checkpoint_path("../runs", "diagnosis")
    assert path == "/v1/checkpoints/..%2Fruns/diagnosis"
