"""The networks of a run at its start and its end, as losses on training rows that can be asked."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from model.lab.cost import forward_seconds
from model.lab.landscape.arms import NORMS
from model.lab.objectives import on_training_rows
from model.lab.results import Results, RunResult
from model.measures.objective import Objective
from model.measures.probe import Block
from model.measures.shadow import shadow

MOST_ROWS = 1_000
PASS_SECONDS = 0.02  # of one pass of all rows: hundreds are taken


@dataclass(frozen=True)
class Look:
    """One run at both ends."""

    norm: str
    run: RunResult
    start: Objective
    end: Objective | None  # None: it diverged, or has no checkpoint


def look_at(results: Results) -> tuple[Look, ...]:
    """Every run of which a look does not take too long.

    The loss is on the first of a run's fixed training rows: 1,000, or as many as one core passes
    forward in a fiftieth of a second by the estimate of `model.lab.cost`. Fewer than a mini-batch
    are not worth a look.
    """
    found = (_look(results, norm, run) for norm in NORMS for run in results.of(norm))
    return tuple(one for one in found if one is not None)


def one_seed(none: Iterable[int], batch: Iterable[int]) -> int | None:
    """The first seed that both arms have, or that any has; None: there is none."""
    mine, theirs = set(none), set(batch)
    return min(mine & theirs or mine | theirs, default=None)


def _look(results: Results, norm: str, run: RunResult) -> Look | None:
    begun = results.start(run)
    rows = min(MOST_ROWS, int(PASS_SECONDS / forward_seconds(begun.checked)))
    if rows < begun.checked.batches.largest:
        return None
    every = on_training_rows(begun)
    block = Block(every.block.inputs[:rows], every.block.targets[:rows])
    start = replace(every, block=block)
    loaded = None if run.has_diverged else results.trained(run)
    end = None if loaded is None else replace(start, network=shadow(loaded.network))
    return Look(norm, run, start, end)
