import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from evalmode import watching
from evalmode.client import Operation
from evalmode.repairing import findings, follow, outcome
from evalmode.resources import OperationResult
from evalmode.statistics import Diagnosis


class Sequel(Operation):
    """An operation whose states are known in advance."""

    def refresh(self) -> Operation:
        progress = self.progress + 0.5
        state = "succeeded" if progress == 1 else "running"
        fields = {"state": state, "done": progress == 1, "progress": progress}
        return type(self).model_validate(self.model_dump() | fields)


@pytest.fixture
def operation(
    make_operation: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Operation:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0)
    monkeypatch.setattr(watching, "LINE_SECONDS", 0)
    return Sequel.model_validate(make_operation())


def test_lines_follow_an_operation_to_its_end(operation: Operation) -> None:
    out = io.StringIO()
    assert follow(operation, Console(file=out, width=200)).state == "succeeded"
    assert out.getvalue().splitlines() == [
        "recalibrate  running  50%",
        "recalibrate  succeeded  100%",
    ]


def test_a_terminal_gets_a_bar(operation: Operation) -> None:
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True)
    assert follow(operation, console).state == "succeeded"
    assert "recalibrate succeeded" in out.getvalue()
    assert "100%" in out.getvalue()


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (
            {"test_accuracy": 0.36944, "test_loss": 2.0, "train_eval_gap": 60.278},
            {"test_accuracy": 0.97222, "test_loss": 0.1, "train_eval_gap": 0.0},
            ["test_accuracy  0.3694 -> 0.9722", "train_eval_gap  60.28 -> 0 points"],
        ),
        (
            {"test_loss": None, "train_eval_gap_loss": 0.5},
            {"test_loss": 0.25, "train_eval_gap_loss": 0.125},
            ["test_loss  not finite -> 0.25", "train_eval_gap_loss  0.5 -> 0.125"],
        ),
        ({}, {"test_accuracy": 1.0}, ["test_accuracy  unknown -> 1"]),
    ],
)
def test_a_repair_is_told_by_what_it_changed(
    before: dict[str, Any], after: dict[str, Any], lines: list[str]
) -> None:
    result = OperationResult(checkpoint="ckpt_2", before=before, after=after)
    assert list(outcome(result)) == [*lines, "checkpoint  ckpt_2"]


def test_a_finding_is_told_with_its_remedy() -> None:
    found = [
        {
            "reason": "BN_STATS_LAG",
            "severity": "warning",
            "layer": "1",
            "evidence": {"share_of_initial": 0.741},
            "remedy": "Recalibrate the statistics.",
        },
        {"reason": "BN_COUNTER_MISMATCH", "severity": "error", "remedy": "Do not serve it."},
    ]
    diagnosis = Diagnosis.model_validate({"checkpoint": "ckpt_1", "findings": found})
    assert list(findings(diagnosis)) == [
        "warning  BN_STATS_LAG  layer 1",
        "    Recalibrate the statistics.",
        "error  BN_COUNTER_MISMATCH",
        "    Do not serve it.",
    ]


def test_a_sound_checkpoint_is_said_to_be_so() -> None:
    sound = Diagnosis.model_validate({"checkpoint": "ckpt_1", "findings": []})
    assert list(findings(sound)) == ["ckpt_1: nothing found"]
