import json
from typing import Any

import pytest
from pydantic import BaseModel

from api.routes import statistics as served
from evalmode import statistics
from evalmode.statistics import Diff, History, TrainEvalGap


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (statistics.Summary, served.Summary),
        (statistics.LayerStatistics, served.LayerStatistics),
        (statistics.Statistics, served.StatisticsResource),
    ],
)
def test_every_field_that_the_service_tells_has_a_name_here(
    ours: type[BaseModel], theirs: type[BaseModel]
) -> None:
    assert theirs.model_fields.keys() - {"object"} <= ours.model_fields.keys()


def test_a_layer_is_found_by_its_name() -> None:
    layers = [{"layer": "1", "points": 5.0, "loss": 0.1}, {"layer": "4", "points": 3.1}]
    gap = TrainEvalGap.model_validate({"rows": 360, "points": 8.1, "loss": None, "layers": layers})
    assert gap["4"].points == 3.1
    with pytest.raises(KeyError, match="7"):
        gap["7"]


def moment(step: int, running: float | None) -> dict[str, Any]:
    distance = {"mean_sd": {"p25": 0.1, "median": 0.2, "p75": 0.3}, "log_variance": None}
    layer = {
        "layer": "1",
        "channels": 100,
        "share_of_initial": 0.741,
        "mean": {"running": running, "batch": 0.5, "population": 0.6},
        "variance": {"running": 1.0, "batch": None, "population": 0.9},
        "running_distance": distance,
        "batch_distance": None,
    }
    checkpoint = {"checkpoint": f"ckpt_{step}", "step": step, "rows": 1437}
    return {**checkpoint, "train_eval_gap": None, "layers": [layer]}


def test_a_history_is_followed_layer_by_layer() -> None:
    points = [moment(100, 0.1), moment(200, None)]
    told = {"object": "statistics_history", "run": "run_1", "points": points}
    history = History.model_validate(told)
    assert [point.mean.running for point in history["1"]] == [0.1, None]
    assert history["1"][0].running_distance.mean_sd.median == 0.2
    assert json.loads(history.model_dump_json()) == told


def test_a_comparison_is_told_as_the_service_wrote_it() -> None:
    told = {
        "object": "diff",
        "checkpoint": "ckpt_1",
        "with": "ckpt_2",
        "layers": [
            {
                **{"layer": "1", "channels": 2, "kl_mean": None, "kl_max": None},
                **{"mean_cosine": 1.0, "variance_cosine": 0.5, "largest_z": 3.0, "z_channel": 1},
                "not_finite": {"kl_mean": "inf", "kl_max": "inf"},
            }
        ],
        "only_first": [],
        "only_second": ["4"],
    }
    diff = Diff.model_validate(told)
    assert diff.other == "ckpt_2"
    assert json.loads(diff.model_dump_json()) == told
