"""Tables of a page: numbers on the right, and no wider than the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from model.figures.scales import number_text
from model.pages.markup import Html, element

LONG = 24  # characters of a cell that is wrapped, but not into a narrow column
_NOT_FINITE = {"nan": "NaN", "inf": "\u221e", "-inf": "\u2212\u221e"}


def report_table(told: Mapping[str, Any]) -> Html:
    """A table as `model.lab.report.table_json` has it."""
    hidden = {(one["row"], one["column"]): one["value"] for one in told["not_finite"]}
    rows = [
        [
            _NOT_FINITE.get(hidden[i, j], hidden[i, j]) if (i, j) in hidden else cell_text(cell)
            for j, cell in enumerate(row)
        ]
        for i, row in enumerate(told["rows"])
    ]
    numeric = [
        any(_is_number(row[j]) for row in told["rows"])
        and all(row[j] is None or _is_number(row[j]) for row in told["rows"])
        for j in range(len(told["columns"]))
    ]
    note = element("p", told["note"], class_="note") if told["note"] else None
    return element(
        "section",
        element("h3", told["title"]),
        table(told["columns"], rows, numeric),
        note,
        class_="table",
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> Html:
    """Cells under their headings; a wide one is scrolled sideways, an empty column left out.

    Args:
        numeric: which columns are of numbers.
    """
    kept = [j for j in range(len(columns)) if not rows or any(row[j] for row in rows)]
    columns, numeric = [columns[j] for j in kept], [numeric[j] for j in kept]
    rows = [[row[j] for j in kept] for row in rows]
    long = [max((len(row[j]) for row in rows), default=0) > LONG for j in range(len(kept))]
    sides = [
        "number" if is_number else "long" if is_long else None
        for is_number, is_long in zip(numeric, long, strict=True)
    ]
    head = (
        element("th", name, scope="col", class_=side)
        for name, side in zip(columns, sides, strict=True)
    )
    body = (
        element("tr", *(element("td", text, class_=side) for text, side in _beside(row, sides)))
        for row in rows
    )
    inner = element("table", element("thead", element("tr", *head)), element("tbody", *body))
    return element("div", inner, class_="wide", tabindex="0", role="group", aria_label="table")


def cell_text(cell: str | float | bool | None) -> str:
    """A cell in words."""
    if cell is None:
        return "\u2013"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    return cell if isinstance(cell, str) else number_text(cell)


def _beside(row: Sequence[str], sides: Sequence[str | None]) -> list[tuple[str, str | None]]:
    return list(zip(row, sides, strict=True))


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)
