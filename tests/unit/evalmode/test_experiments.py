import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from evalmode import experiments
from evalmode.errors import BadAnswer, Conflict

EFFECT: dict[str, Any] = {
    "name": "batch - none",
    "unit": "",
    "scale": "difference",
    "claimed": "above",
    "margin": 0.0,
    "value": 0.1,
    "ci_low": 0.05,
    "ci_high": 0.15,
    "n": 3,
    "seeds": [{"seed": 0, "value": 0.1, "note": ""}],
    "verdict": "supports",
}


def experiment(state: str = "queued", **fields: Any) -> dict[str, Any]:
    run = {"id": "run_1", "arm": "none", "seed": 0, "state": "queued", "outcome": None}
    return {
        "id": "exp_1",
        "object": "experiment",
        "kind": "pair",
        "params": {"factor": "norm"},
        "seeds": [0],
        "state": state,
        "runs": [run],
        "progress": {"step": 0, "steps": 10, "fraction": 0.0, "runs": 1, "ended": 0},
        "operation": None,
        "report": None,
        "error": None,
        "created_at": "2026-01-01T00:00:00Z",
        **fields,
    }


def test_an_experiment_is_asked_for_with_a_key_and_without_what_is_left_out(
    play: Any, answer: Any
) -> None:
    played = play(experiments.create("pair"), answer(experiment(), status=202))
    (request,) = played.requests
    assert (request.method, request.path) == ("POST", "/v1/experiments")
    assert json.loads(request.body) == {"kind": "pair"}
    assert request.headers["idempotency-key"]
    assert played.value.runs[0].arm == "none"
    asked = experiments.create("pair", {"factor": "norm"}, (3, 4), idempotency_key="mine")
    (request,) = play(asked, answer(experiment(), status=202)).requests
    assert json.loads(request.body) == {
        "kind": "pair",
        "params": {"factor": "norm"},
        "seeds": [3, 4],
    }
    assert request.headers["idempotency-key"] == "mine"


def test_a_check_queues_nothing(play: Any, answer: Any) -> None:
    run = {"arm": "none", "seed": 0, "spec": {}, "spec_hash": "sha256:0", "parameters": 1}
    run |= {"memory_bytes": 1, "steps": 1, "estimated_seconds": 2.5}
    declared = {name: EFFECT[name] for name in ("name", "scale", "claimed", "margin")}
    told = {"kind": "pair", "params": {}, "seeds": [0], "effect": declared, "runs": [run]}
    played = play(experiments.check("pair"), answer(told | {"estimated_seconds": 2.5}))
    assert played.requests[0].query == {"validate_only": "true"}
    assert played.value.runs[0].estimated_seconds == 2.5


def test_waiting_ends_with_the_report_in_brief(play: Any, answer: Any) -> None:
    links = {"report": "/r", "page": "/p", "figures": {}, "tables": {}}
    report = {"claim": "It helps.", "verdict": "supports", "effect": EFFECT, "links": links}
    ended = experiment("succeeded", report=report | {"summary": "It does.", "caveats": []})
    played = play(experiments.wait("exp_1"), answer(experiment("running")), answer(ended))
    assert played.value.is_ended
    assert played.value.report.effect.seeds[0].value == 0.1
    assert [request.path for request in played.requests] == ["/v1/experiments/exp_1"] * 2


def test_a_list_can_be_of_one_state(play: Any, answer: Any) -> None:
    page = answer({"data": [experiment()], "has_more": False, "last_id": "exp_1"})
    played = play(experiments.list_all("queued"), page)
    assert [found.id for found in played.emitted] == ["exp_1"]
    assert played.requests[0].query == {"state": "queued"}


def test_kinds_tell_their_params(play: Any, answer: Any) -> None:
    kind = {"kind": "pair", "claim": "It helps.", "source": "here", "params": {"type": "object"}}
    declared = {name: EFFECT[name] for name in ("name", "scale", "claimed", "margin")}
    kind |= {"default_seconds": 20, "default_seeds": [0, 1, 2], "effect": declared}
    (found,) = play(experiments.kinds(), answer({"object": "list", "data": [kind]})).value
    assert (found.kind, found.default_seeds) == ("pair", (0, 1, 2))


def test_what_ends_it_names_it(play: Any, answer: Any) -> None:
    cancelled = play(experiments.cancel("exp_1"), answer(experiment("cancelled"), status=202))
    assert cancelled.requests[0].path == "/v1/experiments/exp_1/cancel"
    deleted = play(experiments.delete("exp_1"), answer(status=204))
    assert (deleted.requests[0].method, deleted.value) == ("DELETE", None)
    away = play(experiments.get("../../health"), answer(experiment()))
    assert away.requests[0].path == "/v1/experiments/..%2F..%2Fhealth"


def test_a_page_and_a_figure_are_saved_once_they_are_whole(
    play: Any, answer: Any, tmp_path: Path
) -> None:
    content = b"<!doctype html>"
    etag = f'"{hashlib.sha256(content).hexdigest()}"'
    page = play(experiments.page("exp_1", tmp_path / "a.html"), answer(content, etag=etag))
    assert page.requests[0].path == "/v1/experiments/exp_1/report.html"
    assert page.value.read_bytes() == content
    drawn = experiments.figure("exp_1", "curves", tmp_path / "a.PNG")
    played = play(drawn, answer(content, etag=etag))
    assert played.requests[0].path == "/v1/experiments/exp_1/figures/curves.png"
    with pytest.raises(BadAnswer, match="sha256"):
        play(experiments.page("exp_1", tmp_path / "b.html"), answer(b"other", etag=etag))
    assert {path.name for path in tmp_path.iterdir()} == {"a.html", "a.PNG"}


def test_a_report_that_is_not_there_is_a_conflict(play: Any, answer: Any) -> None:
    body = {"reason": "REPORT_NOT_READY", "metadata": {"state": "running"}, "detail": "no"}
    with pytest.raises(Conflict) as refused:
        play(experiments.report("exp_1"), answer(body, status=409))
    assert refused.value.metadata["state"] == "running"
