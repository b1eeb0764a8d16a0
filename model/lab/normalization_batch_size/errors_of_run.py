"""The four errors of one run: by whose statistics, and on which rows."""

from dataclasses import dataclass

import torch

from model.checkpoint import Loaded
from model.lab.compare import Of, Outcome
from model.lab.errors import ONE_ROW, held_out, in_eval, in_groups, recomputed
from model.lab.results import Results, RunResult, Start
from model.statistics.chunks import chunks
from model.training.arrays import Part
from model.training.randomness import stream

MOST_ROWS = 2_000  # of each part: groups of 2 of them are 1,000 passes
WORST = 100.0  # percent: what a network that diverged gets wrong


@dataclass(frozen=True)
class Errors:
    """Of one run, in percent."""

    running: float
    precise: float
    groups: float | None  # None: there is one test row
    training: float


AllErrors = dict[tuple[str, int], Errors]  # by arm and seed
NAMES = {
    "running": "test rows, running averages",
    "precise": "test rows, precise statistics",
    "groups": "test rows, statistics of groups",
    "training": "training rows, statistics of groups",
}


def look(results: Results, sizes: dict[str, int]) -> AllErrors:
    """Every run that counts and did not diverge, as it was last saved.

    Args:
        sizes: rows that are normalized together, by arm.
    """
    found = {}
    for run in results.runs:
        loaded = results.trained(run) if run.counts and not run.has_diverged else None
        if loaded is not None:
            found[run.arm, run.seed] = _errors(results.start(run), loaded, sizes[run.arm])
    return found


def of_error(found: AllErrors, name: str) -> Of:
    """One error of every run; a network that diverged gets everything wrong.

    Args:
        name: a field of `Errors`.
    """

    def of(run: RunResult) -> Outcome:
        if run.has_diverged:
            return Outcome(WORST, f"{run.arm} diverged at step {run.step:,}", diverged=True)
        errors = found.get((run.arm, run.seed))
        if errors is None:
            return Outcome(None, f"{run.arm} has no checkpoint")
        value = getattr(errors, name)
        return Outcome(value, f"{run.arm}: {ONE_ROW}" if value is None else "")

    return of


def _errors(start: Start, loaded: Loaded, size: int) -> Errors:
    test, train = (_some(part, start) for part in (held_out(start), start.arrays.train))
    network, block = loaded.network, loaded.block_rows
    grouped = chunks(torch.arange(len(test)), size)
    return Errors(
        running=in_eval(network, test, block),
        precise=in_eval(recomputed(loaded, start), test, block),
        groups=in_groups(network, test, grouped) if len(test) > 1 else None,
        training=in_groups(network, train, chunks(torch.arange(len(train)), size)),
    )


def _some(part: Part, start: Start) -> Part:
    """At most 2,000 rows in random order: neighbours become groups."""
    generator = stream(start.checked.spec.seed, "measures")
    rows = torch.randperm(len(part), generator=generator)[:MOST_ROWS]
    classes = None if part.classes is None else part.classes[rows]
    return Part(part.inputs[rows], part.targets[rows], classes)
