"""What an experiment answers: a verdict with its effect, tables and figures, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from model.figures.charts import Figure
from model.lab.verdict import Effect

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class Table:
    """Rows under headings.

    Raises:
        ValueError: a row has more or fewer cells than there are columns.
    """

    name: str  # letters, digits and hyphens; unique in a report
    title: str
    columns: tuple[str, ...]  # with units: "steps to 85 %"
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""  # what a reader must know: bounds, diverged arms

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table {self.name}: rows of other lengths than {self.columns}")


@dataclass(frozen=True)
class Section:
    """One claim of several that are told on one page."""

    title: str
    claim: str
    effect: Effect
    summary: str
    figures: tuple[str, ...]  # names, of the report's
    tables: tuple[str, ...]
    leaves_open: tuple[str, ...]  # what the source leaves open or gets wrong, a sentence each


@dataclass(frozen=True)
class Report:
    """The answer of one experiment; whoever asks adds its kind, params and environment."""

    effect: Effect
    summary: str  # what was found, two or three sentences for a person, with the numbers
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    #: What it cannot show, where it differs from the published result, and why.
    caveats: tuple[str, ...] = ()
    #: That arms differ in one factor alone: see `model.lab.factors`.
    factors: tuple[Mapping[str, Any], ...] = ()
    #: More claims that the same runs settle, each judged like the first.
    others: tuple[Effect, ...] = field(default=())
    #: Parts in the order in which they are read, where there are several claims of one source.
    sections: tuple[Section, ...] = ()


def effect_json(effect: Effect) -> dict[str, Any]:
    """An effect as the API shows it."""
    declared = effect.declared
    return {
        "name": declared.name,
        "unit": declared.unit,
        "scale": declared.scale,
        "claimed": declared.claimed,
        "margin": declared.margin,
        "value": effect.value,
        "ci_low": effect.ci_low,
        "ci_high": effect.ci_high,
        "n": effect.n,
        "seeds": [vars(one) for one in effect.seeds],
        "verdict": effect.verdict,
    }


def table_json(table: Table) -> dict[str, Any]:
    """A table as the API shows it; a cell that is not finite is null, named in `not_finite`."""
    found = [
        {"row": i, "column": j, "value": str(cell)}
        for i, row in enumerate(table.rows)
        for j, cell in enumerate(row)
        if isinstance(cell, float) and not isfinite(cell)
    ]
    rows = [[_finite(cell) for cell in row] for row in table.rows]
    plain = {"name": table.name, "title": table.title, "columns": list(table.columns)}
    return plain | {"rows": rows, "not_finite": found, "note": table.note}


def unique_names(tables: Sequence[Table], figures: Sequence[Figure]) -> bool:
    """Whether every table and every figure of a report can be asked for by its name."""
    for named in (tables, figures):
        names = [one.name for one in named]
        if len(set(names)) != len(names):
            return False
    return True


def _finite(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not isfinite(cell) else cell
