"""The error of a run at its checkpoints, by running averages and by precise statistics."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from model.lab.compare import Of, Outcome
from model.lab.errors import held_out, in_eval, recomputed
from model.lab.results import Results, RunResult, Series


@dataclass(frozen=True)
class Looks:
    """Test errors of one run at its checkpoints, in percent."""

    steps: tuple[int, ...] = ()
    running: tuple[float, ...] = ()
    precise: tuple[float, ...] = ()

    def gaps(self, first: int, last: int) -> list[float]:
        """Running less precise, at the checkpoints from step `first` to `last`."""
        found = zip(self.steps, self.running, self.precise, strict=True)
        return [running - exact for step, running, exact in found if first <= step <= last]

    def series(self, is_running: bool) -> Series:
        """One of the two over the steps."""
        return Series(self.steps, self.running if is_running else self.precise)


AllLooks = dict[tuple[str, int], Looks]  # by arm and seed


def look(results: Results) -> AllLooks:
    """Every checkpoint of every run that counts."""
    return {(run.arm, run.seed): _looks(results, run) for run in results.runs if run.counts}


def over_phase(
    looks: AllLooks, first: int, last: int, reduce: Callable[[list[float]], float] = fmean
) -> Of:
    """What the gaps of a run between two steps come to.

    A run that diverged by then says nothing: both of its errors are those of no network.

    Args:
        first, last: steps of the first and of the last checkpoint that may count.
        reduce: from the gaps, in points, to one number.
    """

    def of(run: RunResult) -> Outcome:
        if run.has_diverged and run.step <= last:
            return Outcome(None, f"{run.arm} diverged at step {run.step:,}")
        gaps = looks.get((run.arm, run.seed), Looks()).gaps(first, last)
        if not gaps:
            return Outcome(None, f"{run.arm} has no checkpoint in steps {first:,} to {last:,}")
        return Outcome(reduce(gaps))

    return of


def share_above(gaps: list[float]) -> float:
    """Percent of the checkpoints at which precise statistics err less."""
    return 100 * sum(gap > 0 for gap in gaps) / len(gaps)


def _looks(results: Results, run: RunResult) -> Looks:
    start = results.start(run)
    part, found = held_out(start), list[tuple[int, float, float]]()
    for at in run.checkpoints:
        loaded = results.trained(run, at.step)
        if loaded is not None:
            running = in_eval(loaded.network, part, loaded.block_rows)
            exact = in_eval(recomputed(loaded, start), part, loaded.block_rows)
            found.append((at.step, running, exact))
    return Looks(*zip(*found, strict=True)) if found else Looks()
