import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from evalmode import watching
from evalmode.client import Run
from evalmode.watching import line, watch

STATES = ["queued", "running", "running", "succeeded"]


class Sequel(Run):
    """A run whose states are known in advance."""

    def refresh(self) -> Run:
        step = self.progress.step + 3
        progress = self.progress.model_copy(update={"step": step, "fraction": step / 9})
        metrics = {"train_loss": {"last": 1 / step, "best": 0, "step": step}}
        state = STATES[step // 3]
        fields = self.model_dump() | {"state": state, "progress": progress, "metrics": metrics}
        return type(self).model_validate(fields)


@pytest.fixture
def run(make_run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0)
    monkeypatch.setattr(watching, "LINE_SECONDS", 0)
    return Sequel.model_validate(
        make_run(name="arm", progress={"step": 0, "steps": 9, "fraction": 0})
    )


def test_lines_follow_a_run_to_its_end_and_say_nothing_twice(run: Run) -> None:
    out = io.StringIO()
    (ended,) = watch([run], Console(file=out, width=200))
    assert ended.state == "succeeded"
    assert out.getvalue().splitlines() == [
        "arm  running  step 3/9  train_loss 0.3333",
        "arm  running  step 6/9  train_loss 0.1667",
        "arm  succeeded  step 9/9  train_loss 0.1111",
    ]


def test_a_terminal_gets_a_bar_with_the_loss(run: Run) -> None:
    out = io.StringIO()
    (ended,) = watch([run], Console(file=out, width=120, force_terminal=True))
    assert ended.state == "succeeded"
    assert "9/9 steps" in out.getvalue()
    assert "train_loss 0.1111" in out.getvalue()


def test_a_loss_that_is_not_finite_is_said_to_be_so(make_run: Callable[..., Any]) -> None:
    progress = {"step": 2, "steps": 9, "fraction": 0.2, "steps_per_second": 41.6, "eta_seconds": 7}
    metrics = {"train_loss": {"last": None, "best": 1, "step": 2}}
    run = Run.model_validate(make_run("running", progress=progress, metrics=metrics))
    expected = "run_1  running  step 2/9  42 steps/s  7 s left  train_loss not finite"
    assert line(run) == expected
