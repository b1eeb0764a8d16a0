"""What a run would wait for is said when it is submitted."""

from typing import Any

import pytest

from api.admission import waits
from core.workers import Worker
from model.spec import RunSpec

TWO = Worker("w1", "host", 1, "cpu", 2)
FOUR = Worker("w2", "host", 2, "cpu", 4)
GPU = Worker("w3", "host", 3, "gpu", 1)


@pytest.mark.parametrize(
    ("asked", "alive", "reasons"),
    [
        ({"device": "cuda"}, [], ["NO_GPU_WORKER"]),
        ({"device": "cuda", "threads": 8}, [FOUR], ["NO_GPU_WORKER"]),
        ({"device": "cuda"}, [TWO, GPU], []),
        ({"device": "auto"}, [], []),
        ({"device": "cpu", "threads": 4}, [TWO, FOUR], []),
        ({"device": "cpu", "threads": 5}, [TWO, FOUR], ["THREADS_EXCEED_SLOTS"]),
        ({"device": "auto", "threads": 5}, [TWO, FOUR], ["THREADS_EXCEED_SLOTS"]),
        ({"device": "auto", "threads": 5}, [TWO, GPU], []),
        ({"device": "cpu", "threads": 5}, [], []),
    ],
)
def test_a_run_that_no_live_worker_can_take_is_told_so(
    asked: dict[str, Any], alive: list[Worker], reasons: list[str]
) -> None:
    spec = RunSpec.model_validate({"dataset": "digits", "network": {"kind": "mlp"}, **asked})
    found = list(waits(spec, alive))
    assert [finding.reason for finding in found] == reasons
    assert all(finding.severity == "note" for finding in found)
