"""What several experiments tell of their arms: numbers seed by seed, and what ended early."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from statistics import fmean

from model.lab.compare import Of, Outcome
from model.lab.report import Table, effect_json
from model.lab.results import Results, RunResult
from model.lab.verdict import Effect
from model.pages.words import found

POINTS = 100.0  # percentage points in an accuracy of 1


def in_points(of: Of) -> Of:
    """The same share, an accuracy above all, in percent."""

    def scaled(run: RunResult) -> Outcome:
        one = of(run)
        return one if one.value is None else replace(one, value=POINTS * one.value)

    return scaled


def by_seed(
    name: str, title: str, results: Results, rows: Mapping[str, tuple[str, Of]], note: str = ""
) -> Table:
    """A row for every label: what the runs of an arm come to, seed by seed, and their mean.

    Bounds are in the mean as if they were numbers; the note names them.

    Args:
        rows: the arm and what is asked of its runs, by the row's label.
    """
    seeds = results.planned_seeds
    cells, notes = [], [note] if note else []
    for label, (arm, of) in rows.items():
        outcomes = {run.seed: of(run) for run in results.of(arm)}
        values = [outcomes[seed].value if seed in outcomes else None for seed in seeds]
        known = [value for value in values if value is not None]
        cells.append((label, *values, fmean(known) if known else None))
        notes += [f"seed {seed}: {one.note}" for seed, one in outcomes.items() if one.note]
    columns = ("arm", *(f"seed {seed}" for seed in seeds), "mean")
    return Table(name, title, columns, tuple(cells), "; ".join(dict.fromkeys(notes)))


def sentence(effect: Effect) -> str:
    """An effect's name with its number, interval and seeds."""
    name = effect.declared.name
    return f"{name[:1].upper()}{name[1:]}: {found(effect_json(effect))}"


def ended_early(
    results: Results, diverged_is: str = "counted as the worst outcome"
) -> tuple[str, ...]:
    """In words, which runs diverged; those that failed or were cancelled the document lists.

    Args:
        diverged_is: what numbers make of a run that diverged.
    """
    diverged = [run for run in results.runs if run.counts and run.has_diverged]
    return (f"Diverged, and {diverged_is}: {_named(diverged)}.",) if diverged else ()


def _named(runs: Iterable[RunResult]) -> str:
    return "; ".join(f"{run.arm}, seed {run.seed}" for run in runs)
