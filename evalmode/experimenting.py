"""Shows an experiment while its runs train, and what it concludes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from evalmode.client import Experiment
from evalmode.laboratory import Effect, Kind, ReportSummary
from evalmode.submission import SpecUnreadable
from evalmode.watching import lines, looks


def params_of(settings: Sequence[str], defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The params that `--set key=value` says, a dotted key reaching into an object.

    A value is JSON where it can be read as that, else text. Another `kind` of an object begins it
    anew, for the other fields were those of the first.

    Args:
        defaults: of the params: what a dotted key reaches into where nothing else is set.

    Raises:
        SpecUnreadable: no equals sign, or a key that reaches into what is no object.
    """
    found: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise SpecUnreadable(f"--set is {text!r}; give key=value")
        keys = key.split(".")
        default = (defaults or {}).get(keys[0])
        if len(keys) > 1 and keys[0] not in found and isinstance(default, dict):
            found[keys[0]] = deepcopy(default)
        _put(found, keys, _value(value), text)
    return found


def defaults_of(kind: Kind) -> dict[str, Any]:
    """The defaults of a kind's params, as its JSON Schema has them."""
    fields = kind.params.get("properties", {})
    return {name: field["default"] for name, field in fields.items() if "default" in field}


def seeds_of(text: str | None) -> list[int] | None:
    """The seeds of `--seeds 0,1,2`.

    Raises:
        SpecUnreadable: they are no whole numbers.
    """
    if text is None:
        return None
    try:
        return [int(seed) for seed in text.split(",") if seed.strip()]
    except ValueError:
        raise SpecUnreadable(f"--seeds is {text!r}; give whole numbers, as 0,1,2") from None


def follow(experiment: Experiment, console: Console) -> Experiment:
    """Show an experiment until it has ended, and return it as it ended."""
    if console.is_terminal:
        return _bar(experiment, console)
    (ended,) = lines([experiment], console, line)
    return ended


def line(experiment: Experiment) -> str:
    """Where an experiment is, in one line."""
    at = experiment.progress
    runs = f"{at.ended}/{at.runs} runs"
    steps = f"step {at.step}/{at.steps}"
    reporting = experiment.operation is not None and not experiment.is_ended
    doing = "making the report" if reporting else f"{at.fraction:.0%}"
    return "  ".join([experiment.kind, experiment.state, runs, steps, doing])


def kinds_lines(kinds: Sequence[Kind]) -> Iterator[str]:
    """Two lines a kind: how long it takes, and what it claims."""
    for kind in kinds:
        seeds = f"{len(kind.default_seeds)} seeds"
        yield f"{kind.kind}  (about {kind.default_seconds} s with {seeds} on two cores)"
        yield f"    {kind.claim}"


def outcome(report: ReportSummary, saved: Path | None) -> Iterator[str]:
    """What an experiment concludes, and where the page lies."""
    yield f"claim    {report.claim}"
    yield f"verdict  {report.verdict}"
    yield f"effect   {_effect(report.effect)}"
    yield f"found    {report.summary}"
    for caveat in report.caveats:
        yield f"but      {caveat}"
    if saved is not None:
        yield f"report   {saved}"


def _bar(experiment: Experiment, console: Console) -> Experiment:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
        TextColumn("{task.fields[runs]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(experiment.kind, total=1.0, runs="")
        for (seen,) in looks([experiment]):
            at = seen.progress
            progress.update(
                bar,
                description=f"{seen.kind} {seen.state}",
                total=max(at.steps, 1),
                completed=at.step,
                runs=f"{at.ended}/{at.runs} runs",
            )
    return seen


def _effect(effect: Effect) -> str:
    if effect.value is None:
        return f"{effect.name}: unknown, no seed gives a number"
    unit = f" {effect.unit}" if effect.unit else ""
    text = f"{effect.name}: {effect.value:.4g}{unit}"
    if effect.ci_low is None or effect.ci_high is None:
        return f"{text}, one seed and no interval"
    return f"{text}, 95 % interval {effect.ci_low:.4g} to {effect.ci_high:.4g}, n = {effect.n}"


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _put(found: dict[str, Any], keys: Sequence[str], value: Any, text: str) -> None:
    *parents, last = keys
    for key in parents:
        found = found.setdefault(key, {})
        if not isinstance(found, dict):
            raise SpecUnreadable(f"--set is {text!r}, and {key} is already no object")
    if last == "kind" and found.get("kind") != value:
        found.clear()
    found[last] = value
