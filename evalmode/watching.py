"""Shows runs while they train: a live bar on a terminal, plain lines elsewhere.

It looks at the runs and never touches them.
"""

import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from evalmode.client import Run

LOOK_SECONDS = 0.2
LINE_SECONDS = 0.5  # least time between two plain lines of one run
SHOWN = ("train_loss", "test_accuracy", "test_loss")


def watch(runs: Sequence[Run], console: Console) -> list[Run]:
    """Show runs until every one has ended, and return them as they ended."""
    return _bars(runs, console) if console.is_terminal else _lines(runs, console)


def _looks(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """The runs, again and again, until all have ended."""
    seen = list(runs)
    while True:
        seen = [run if run.is_ended else run.refresh() for run in seen]
        yield seen
        if all(run.is_ended for run in seen):
            return
        time.sleep(LOOK_SECONDS)


def _bars(runs: Sequence[Run], console: Console) -> list[Run]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[numbers]}"),
    )
    seen = list(runs)
    with Progress(*columns, console=console) as progress:
        bars = [progress.add_task(label(run), rate="", numbers="") for run in runs]
        for seen in _looks(runs):
            for bar, run in zip(bars, seen, strict=True):
                _update(progress, bar, run)
    return seen


def _update(progress: Progress, bar: TaskID, run: Run) -> None:
    progress.update(
        bar,
        description=f"{label(run)} {run.state}",
        total=run.progress.steps,
        completed=run.progress.step,
        rate=rate(run),
        numbers=numbers(run),
    )


def _lines(runs: Sequence[Run], console: Console) -> list[Run]:
    due = dict.fromkeys((run.id for run in runs), 0.0)
    said: dict[str, str] = {}
    seen = list(runs)
    for seen in _looks(runs):
        for run in seen:
            text = line(run)
            ended = run.is_ended and said.get(run.id) != text
            if ended or (time.monotonic() >= due[run.id] and said.get(run.id) != text):
                console.print(text, highlight=False, soft_wrap=True)
                said[run.id] = text
                due[run.id] = time.monotonic() + LINE_SECONDS
    return seen


def line(run: Run) -> str:
    """Where a run is, in one line."""
    eta = run.progress.eta_seconds
    left = "" if eta is None or run.is_ended else f"{eta:.0f} s left"
    where = f"step {run.progress.step}/{run.progress.steps}"
    parts = [label(run), run.state, where, rate(run), left, numbers(run)]
    return "  ".join(part for part in parts if part)


def label(run: Run) -> str:
    """The run's name, or its id where it has none."""
    return run.name or run.id


def rate(run: Run) -> str:
    """Steps a second, while it trains."""
    speed = run.progress.steps_per_second
    return "" if speed is None else f"{speed:.0f} steps/s"


def numbers(run: Run) -> str:
    """The newest metrics that say most; a number that is not finite is said to be so."""
    found = {name: run.metrics[name].last for name in SHOWN if name in run.metrics}
    return "  ".join(
        f"{name} {'not finite' if value is None else format(value, '.4g')}"
        for name, value in found.items()
    )
