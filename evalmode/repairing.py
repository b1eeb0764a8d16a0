"""Shows what is wrong with a checkpoint's running statistics, and how a repair of them goes."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from evalmode.client import Client, Operation
from evalmode.resources import OperationResult
from evalmode.statistics import Diagnosis
from evalmode.watching import lines, looks

# What says most, and what says it where there are no classes.
SHOWN = (("test_accuracy", "test_loss"), ("train_eval_gap", "train_eval_gap_loss"))


class CheckpointMissing(Exception):
    """A run has no checkpoint yet."""

    def __init__(self, run: str, state: str) -> None:
        super().__init__(f"{run} is {state} and has no checkpoint yet")


def checkpoint_of(client: Client, which: str) -> str:
    """The id of a checkpoint: the newest of a run where a run is named.

    Raises:
        CheckpointMissing: the run has none yet.
    """
    if not which.startswith("run_"):
        return which
    run = client.runs.get(which)
    if run.checkpoint is None:
        raise CheckpointMissing(run.id, run.state)
    return run.checkpoint


def follow(operation: Operation, console: Console) -> Operation:
    """Show an operation until it has ended, and return it as it ended."""
    if console.is_terminal:
        return _bar(operation, console)
    (ended,) = lines([operation], console, line)
    return ended


def _bar(operation: Operation, console: Console) -> Operation:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(operation.kind, total=1.0)
        for (seen,) in looks([operation]):
            text = f"{seen.kind} {seen.state}"
            progress.update(bar, description=text, completed=seen.progress)
    return seen


def line(operation: Operation) -> str:
    """Where an operation is, in one line."""
    return f"{operation.kind}  {operation.state}  {operation.progress:.0%}"


def outcome(result: OperationResult) -> Iterator[str]:
    """What a repair changed, a line each, and the id of the checkpoint that it made."""
    for names in SHOWN:
        for name in [name for name in names if name in result.after][:1]:
            change = f"{_number(result.before, name)} -> {_number(result.after, name)}"
            yield f"{name}  {change}{' points' if name == 'train_eval_gap' else ''}"
    yield f"checkpoint  {result.checkpoint}"


def _number(metrics: Mapping[str, Any], name: str) -> str:
    if name not in metrics:
        return "unknown"
    value = metrics[name]
    return "not finite" if value is None else format(value, ".4g")


def findings(diagnosis: Diagnosis) -> Iterator[str]:
    """What is wrong and what to do about it, two lines each."""
    if not diagnosis.findings:
        yield f"{diagnosis.checkpoint}: nothing found"
    for finding in diagnosis.findings:
        where = "" if finding.layer is None else f"  layer {finding.layer}"
        yield f"{finding.severity}  {finding.reason}{where}"
        yield f"    {finding.remedy}"
