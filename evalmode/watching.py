"""Shows runs while they train: a live bar on a terminal, plain lines elsewhere.

It looks at the runs and never touches them. How it looks, and how often it says a line, holds
for operations too: `evalmode.repairing`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from evalmode.client import Run

LOOK_SECONDS = 0.2
LINE_SECONDS = 0.5  # least time between two plain lines of one run
SHOWN = ("train_loss", "test_accuracy", "test_loss")


class Watched(Protocol):
    """What goes on in the service and ends at some time."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def is_ended(self) -> bool: ...  # noqa: D102

    def refresh(self) -> Self: ...  # noqa: D102


W = TypeVar("W", bound=Watched)


def watch(runs: Sequence[Run], console: Console) -> list[Run]:
    """Show runs until every one has ended, and return them as they ended."""
    return _bars(runs, console) if console.is_terminal else lines(runs, console, line)


def looks(watched: Sequence[W]) -> Iterator[list[W]]:
    """The same things, again and again, until all have ended."""
    seen = list(watched)
    while True:
        seen = [one if one.is_ended else one.refresh() for one in seen]
        yield seen
        if all(one.is_ended for one in seen):
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
        for seen in looks(runs):
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


def lines(watched: Sequence[W], console: Console, line: Callable[[W], str]) -> list[W]:
    """Print where things are until every one has ended, and return them as they ended.

    Args:
        watched: what to look at.
        console: where to.
        line: says where one is; what was just said is not said again.
    """
    due = dict.fromkeys((one.id for one in watched), 0.0)
    said: dict[str, str] = {}
    seen = list(watched)
    for seen in looks(watched):
        for one in seen:
            text = line(one)
            if said.get(one.id) != text and (one.is_ended or time.monotonic() >= due[one.id]):
                console.print(text, highlight=False, soft_wrap=True)
                said[one.id] = text
                due[one.id] = time.monotonic() + LINE_SECONDS
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
