"""Histories of running statistics over HTTP."""

import math
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from core import checkpoints, claims
from core.checkpoints import NewCheckpoint, Origin


def history(client: httpx.Client, path: str) -> dict[str, Any]:
    answer = client.get(f"/v1/{path}/statistics/history")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["object"] == "statistics_history"
    return found


def test_a_run_has_a_point_for_every_checkpoint_by_step(
    client: httpx.Client, scored: dict[str, Any]
) -> None:
    found = history(client, f"runs/{scored['id']}")
    assert (found["run"], found["sampled"], found["of"]) == (scored["id"], False, 3)
    assert [point["checkpoint"] for point in found["points"]] == scored["checkpoints"]
    assert [point["step"] for point in found["points"]] == [1, 2, 3]
    for point in found["points"]:
        metrics = client.get(f"/v1/checkpoints/{point['checkpoint']}").json()["metrics"]
        assert point["train_eval_gap"] == metrics["train_eval_gap"]


def test_a_point_tells_running_and_population_statistics_apart(
    client: httpx.Client, scored: dict[str, Any]
) -> None:
    point = history(client, f"runs/{scored['id']}")["points"][0]
    [layer] = point["layers"]
    assert (layer["layer"], layer["channels"], layer["share_of_initial"]) == ("1", 5, 1.0)
    assert (layer["mean"]["running"], layer["variance"]["running"]) == (0, pytest.approx(1))
    ratio = layer["running_distance"]["log_variance"]["median"]
    low, high = (layer["running_distance"]["log_variance"][q] for q in ("p25", "p75"))
    assert low <= ratio <= high
    assert layer["variance"]["population"] > 0
    assert math.isfinite(layer["mean"]["batch"])


def test_a_checkpoint_has_the_history_up_to_its_own_step(
    client: httpx.Client, service: Any, scored: dict[str, Any]
) -> None:
    second = scored["checkpoints"][1]
    revision = service.add_revision(second)
    for one in (second, revision):
        found = history(client, f"checkpoints/{one}")
        assert (found["run"], [point["step"] for point in found["points"]]) == (
            scored["id"],
            [1, 2],
        )


def test_what_nobody_has_compared_has_no_points(
    client: httpx.Client, service: Any, trained: dict[str, Any]
) -> None:
    assert history(client, f"runs/{trained['id']}")["points"] == []
    record = service.database.read(lambda c: checkpoints.get(c, trained["checkpoint"]))
    new = NewCheckpoint(1, "imports/x", "0", 1, "sha256:0", 0, "w", {})
    elsewhere = service.database.write(
        lambda c: checkpoints.insert_one(c, new, Origin(record.spec))
    )
    found = history(client, f"checkpoints/{elsewhere}")
    assert (found["run"], found["points"], found["of"]) == (None, [], 0)


def test_more_than_five_hundred_points_are_sampled_and_the_answer_says_so(
    client: httpx.Client, service: Any
) -> None:
    run_id = service.submit()["id"]
    epoch = service.claim(run_id)

    def add(connection: Any) -> None:
        for step in range(601):
            point = {"rows": 9, "layers": [], "train_eval_gap": None}
            new = NewCheckpoint(step, "runs/x", "0", 1, "f", 0, "w", {}, None, point)
            claims.add_checkpoint(connection, run_id, epoch, new)

    service.database.write(add)
    found = history(client, f"runs/{run_id}")
    steps = [point["step"] for point in found["points"]]
    assert (found["sampled"], found["of"], len(steps)) == (True, 601, 500)
    assert (steps[0], steps[-1]) == (0, 600)


def test_the_figure_shows_every_layer_and_says_of_which_run(
    client: httpx.Client, scored: dict[str, Any], trained: dict[str, Any]
) -> None:
    run, checkpoint = scored["id"], scored["checkpoints"][-1]
    for path in (f"runs/{run}", f"checkpoints/{checkpoint}"):
        answer = client.get(f"/v1/{path}/statistics/history.svg")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
        texts = "".join(ElementTree.fromstring(answer.content).itertext())
        assert run.removeprefix("run_") in texts
        assert "3 checkpoints" in texts
    empty = client.get(f"/v1/runs/{trained['id']}/statistics/history.svg")
    assert empty.status_code == 200
    assert ElementTree.fromstring(empty.content).tag.endswith("svg")


@pytest.mark.parametrize("ending", ["", ".svg"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (f"runs/run_{'0' * 32}", "RUN_NOT_FOUND"),
        (f"checkpoints/ckpt_{'0' * 32}", "CHECKPOINT_NOT_FOUND"),
    ],
)
def test_a_history_of_nothing_is_404(
    client: httpx.Client, path: str, reason: str, ending: str
) -> None:
    answer = client.get(f"/v1/{path}/statistics/history{ending}")
    assert (answer.status_code, answer.json()["reason"]) == (404, reason)
