"""A figure's numbers as JSON and as CSV: every point of it, also those that a drawing thins out."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from io import StringIO
from itertools import pairwise, zip_longest
from math import isfinite
from numbers import Real
from typing import Any

from model.figures.charts import Bars, Curves, Figure, Guide, Map, Panel, Ridges, Surface

KINDS: Mapping[type[Panel], str] = {
    Curves: "curves",
    Ridges: "ridges",
    Bars: "bars",
    Map: "map",
    Surface: "surface",
}
COLUMNS = (
    "panel",  # counted from 1
    "kind",
    "title",
    "part",  # point, guide, mark, bin, shaded, bar, seed, cell, grid, path
    "series",
    "group",
    "x",
    "y",
    "low",  # of a band, an interval or a bin
    "high",
    "value",  # of a cell or a point of a grid
    "text",
)
Row = dict[str, Any]
# Also the full-width forms of the signs, which some programs read alike.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def to_json(figure: Figure) -> dict[str, Any]:
    """A figure as plain values that JSON can hold: its fields under their names.

    Every panel has its `kind`. A number that is not finite is null, and the object that has it
    says which in `not_finite`: a list of `{"field": "y", "at": [3], "value": "nan"}`, `at` the
    places in the field's lists, counted from 0, and `value` one of nan, inf and -inf.
    """
    plain = _object(figure)
    for panel, told in zip(figure.panels, plain["panels"], strict=True):
        told["kind"] = KINDS[type(panel)]
    return plain


def to_csv(figure: Figure) -> str:
    """A figure as a table of one number, or pair of numbers, a row.

    As RFC 4180 has it: a line of headings, lines that end in CR LF, quotes doubled. Numbers are
    written so that they can be read back exactly, or as nan, inf and -inf. Text that a
    spreadsheet would take for a formula has an apostrophe before it.
    """
    file = StringIO()
    table = csv.writer(file, lineterminator="\r\n")
    table.writerow(COLUMNS)
    for number, panel in enumerate(figure.panels, 1):
        same = {"panel": number, "kind": KINDS[type(panel)], "title": panel.title}
        for row in _rows(panel):
            table.writerow([_cell((same | row).get(name)) for name in COLUMNS])
    return file.getvalue()


def _object(value: Any) -> dict[str, Any]:
    """A dataclass's fields, and what of them is not finite."""
    plain: dict[str, Any] = {}
    found: list[dict[str, Any]] = []
    for field in fields(value):
        plain[field.name] = _plain(getattr(value, field.name), field.name, (), found)
    return plain | ({"not_finite": found} if found else {})


def _plain(value: Any, name: str, at: tuple[int, ...], found: list[dict[str, Any]]) -> Any:
    if is_dataclass(value):
        return _object(value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Real):
        number = float(value)
        if isfinite(number):
            return number
        found.append({"field": name, "at": list(at), "value": str(number)})
        return None
    return [_plain(one, name, (*at, place), found) for place, one in enumerate(value)]


def _rows(panel: Panel) -> Iterable[Row]:
    match panel:
        case Curves():
            return _curves(panel)
        case Ridges():
            return _ridges(panel)
        case Bars():
            return _bars(panel)
        case Map():
            return _map(panel)
        case Surface():
            return _surface(panel)


def _curves(panel: Curves) -> Iterator[Row]:
    for curve in panel.curves:
        for x, y, low, high in _beside(curve.x, curve.y, curve.low, curve.high):
            yield _row("point", curve.label, x=x, y=y, low=low, high=high)
    yield from _guides(panel.guides)
    for x, y, words in panel.marks:
        yield _row("mark", x=x, y=y, text=words)


def _ridges(panel: Ridges) -> Iterator[Row]:
    for label, edges, densities in zip(panel.labels, panel.edges, panel.densities, strict=True):
        for (low, high), density in zip(pairwise(edges), densities, strict=True):
            yield _row("bin", label, y=density, low=low, high=high)
    for low, high in panel.shaded:
        yield _row("shaded", panel.shaded_label, low=low, high=high)


def _bars(panel: Bars) -> Iterator[Row]:
    for one in panel.series:
        for group, y, low, high in _beside(panel.groups, one.values, one.low, one.high):
            yield _row("bar", one.label, group=group, y=y, low=low, high=high)
        for group, seeds in zip(panel.groups, one.seeds, strict=False):
            for y in seeds:
                yield _row("seed", one.label, group=group, y=y)
    yield from _guides(panel.guides)


def _map(panel: Map) -> Iterator[Row]:
    for row, values in enumerate(panel.values):
        for column, value in enumerate(values):
            yield _row(
                "cell",
                panel.y_ticks[row] if panel.y_ticks else None,
                group=panel.x_ticks[column] if panel.x_ticks else None,
                x=column + 1,
                y=row + 1,
                value=value,
                text=panel.texts[row][column] if panel.texts else None,
            )


def _surface(panel: Surface) -> Iterator[Row]:
    for y, values in zip(panel.y, panel.z, strict=True):
        for x, value in zip(panel.x, values, strict=True):
            yield _row("grid", x=x, y=y, value=value)
    for path in panel.paths:
        for x, y in zip(path.x, path.y, strict=True):
            yield _row("path", path.label, x=x, y=y)


def _guides(guides: Sequence[Guide]) -> Iterator[Row]:
    for guide in guides:
        yield _row("guide", guide.label, **{guide.axis: guide.at})


def _row(part: str, series: str | None = None, **rest: Any) -> Row:
    return {"part": part, "series": series} | rest


def _beside(*parts: Sequence[Any] | None) -> Iterator[tuple[Any, ...]]:
    """Lists of one length beside each other; one that is missing is all None."""
    return zip_longest(*(part if part is not None else () for part in parts))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return guarded(value)
    return str(value) if isinstance(value, int) else repr(float(value))


def guarded(text: str) -> str:
    """Text that no spreadsheet takes for a formula; a number stays as it is.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if not text.startswith(_FORMULAS):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
