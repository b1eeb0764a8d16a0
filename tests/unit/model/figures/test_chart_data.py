"""A figure's numbers read back from its JSON and its CSV."""

import csv
import io
import json
from math import inf, isnan, nan
from typing import Any

import numpy as np
import pytest

from model.figures.chart_data import COLUMNS, guarded, to_csv, to_json
from model.figures.charts import (
    Bars,
    BarSeries,
    Curve,
    Curves,
    Figure,
    Guide,
    Map,
    Path,
    Ridges,
    Surface,
)

CURVES = Curves(
    "accuracy",
    "steps",
    "accuracy",
    (
        Curve("batch", [0, 1, 2], [0.1, nan, 1 / 3], "batch", [0, -inf, 0], [1, inf, 1], 3),
        Curve("none", [0.5], [1e-300], "none"),
    ),
    guides=(Guide(0.85, "85 %"), Guide(inf, "never", axis="x")),
    marks=((1.0, 0.5, "half"),),
)
RIDGES = Ridges("acts", "x", ("step 0",), ([0, 1, 2],), ([0.25, 0.75],), ((0, 0.5),))
BARS = Bars(
    "rates",
    "accuracy",
    ("0.1", "0.5"),
    (BarSeries("batch", [1, nan], "batch", [0.5, 0], [2, 1], ([1, 2], [nan])),),
)
MAP = Map("map", "x", "y", ([1, inf], [3, 4]), "c", x_ticks=("a", "b"), texts=(("p", "q"),) * 2)
SURFACE = Surface(
    "plane",
    "x",
    "y",
    [0, 1],
    [5, 6],
    ([1, 2], [nan, 4]),
    "loss",
    paths=(Path("A", [0], [1], "batch"),),
)
FIGURE = Figure("all", "All", "It is.", (CURVES, RIDGES, BARS, MAP, SURFACE), notes=("A note.",))
VALUES = {"nan": nan, "inf": inf, "-inf": -inf}


def refilled(told: dict[str, Any]) -> dict[str, Any]:
    """The object with what is not finite put back where it is said to be."""
    for one in told.pop("not_finite", []):
        where, path = told, [one["field"], *one["at"]]
        for key in path[:-1]:
            where = where[key]
        assert where[path[-1]] is None
        where[path[-1]] = VALUES[one["value"]]
    for value in told.values():
        for inner in value if isinstance(value, list) else []:
            if isinstance(inner, dict):
                refilled(inner)
    return told


def same(one: Any, other: Any) -> bool:
    """Whether two nested lists have equal numbers, NaN being equal to itself."""
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (isnan(one) and isnan(other))


def rows(of: Figure) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(to_csv(of), newline="")))


def numbers(of: list[dict[str, str]], column: str) -> list[float]:
    return [float(row[column]) for row in of]


def test_json_has_every_field_and_says_what_is_not_finite() -> None:
    text = json.dumps(to_json(FIGURE), allow_nan=False)

    told = refilled(json.loads(text))

    assert (told["name"], told["title"], told["evidence"]) == ("all", "All", "It is.")
    assert [panel["kind"] for panel in told["panels"]] == [
        "curves",
        "ridges",
        "bars",
        "map",
        "surface",
    ]
    first = told["panels"][0]["curves"][0]
    for field in ("x", "y", "low", "high"):
        assert same(first[field], getattr(CURVES.curves[0], field))
    assert (first["label"], first["role"], first["n"]) == ("batch", "batch", 3)
    assert told["panels"][0]["guides"][1] == {"at": inf, "label": "never", "axis": "x"}
    assert told["panels"][0]["marks"] == [[1.0, 0.5, "half"]]
    assert same(told["panels"][1]["densities"], RIDGES.densities)
    assert same(told["panels"][2]["series"][0]["seeds"], BARS.series[0].seeds)
    assert same(told["panels"][3]["values"], MAP.values)
    assert same(told["panels"][4]["z"], SURFACE.z)
    assert told["panels"][4]["paths"][0]["label"] == "A"
    assert "not_finite" not in to_json(Figure("a", "A", "", (RIDGES,)))["panels"][0]


def test_what_is_not_finite_is_named_with_its_place() -> None:
    told = to_json(FIGURE)["panels"]

    assert told[0]["curves"][0]["not_finite"] == [
        {"field": "y", "at": [1], "value": "nan"},
        {"field": "low", "at": [1], "value": "-inf"},
        {"field": "high", "at": [1], "value": "inf"},
    ]
    assert told[3]["not_finite"] == [{"field": "values", "at": [0, 1], "value": "inf"}]
    assert told[3]["values"] == [[1, None], [3, 4]]


def test_numbers_of_numpy_and_torch_are_plain_numbers() -> None:
    x = np.arange(3, dtype=np.float32)
    curve = Curve("c", x, [np.float64(nan), np.float32(0.5), 2], "batch")  # type: ignore[arg-type]

    told = to_json(Figure("a", "A", "", (Curves("p", "x", "y", (curve,)),)))

    assert json.loads(json.dumps(told, allow_nan=False))["panels"][0]["curves"][0]["y"] == [
        None,
        0.5,
        2,
    ]


def test_csv_has_every_number_exactly() -> None:
    table = rows(FIGURE)

    points = [row for row in table if row["part"] == "point" and row["series"] == "batch"]
    for column in ("x", "y", "low", "high"):
        assert same(numbers(points, column), getattr(CURVES.curves[0], column))
    [lone] = [row for row in table if row["part"] == "point" and row["series"] == "none"]
    assert (float(lone["x"]), float(lone["y"]), lone["low"]) == (0.5, 1e-300, "")
    bins = [row for row in table if row["part"] == "bin"]
    assert [numbers(bins, column) for column in ("low", "high", "y")] == [
        [0, 1],
        [1, 2],
        [0.25, 0.75],
    ]
    seeds = [row for row in table if row["part"] == "seed"]
    assert [row["group"] for row in seeds] == ["0.1", "0.1", "0.5"]
    assert same(numbers(seeds, "y"), [1, 2, nan])
    cells = [row for row in table if row["part"] == "cell"]
    assert [(row["x"], row["y"], row["value"], row["group"], row["text"]) for row in cells] == [
        ("1", "1", "1", "a", "p"),
        ("2", "1", "inf", "b", "q"),
        ("1", "2", "3", "a", "p"),
        ("2", "2", "4", "b", "q"),
    ]
    grid = [row for row in table if row["part"] == "grid"]
    assert [numbers(grid, column)[:3] for column in "xy"] == [[0, 1, 0], [5, 5, 6]]
    assert same(numbers(grid, "value"), [1, 2, nan, 4])
    guides = [(row["x"], row["y"]) for row in table if row["part"] == "guide"]
    assert guides == [("", "0.85"), ("inf", "")]
    assert {row["kind"] for row in table} == {"curves", "ridges", "bars", "map", "surface"}
    assert [row["panel"] for row in table] == sorted(row["panel"] for row in table)


def test_csv_is_that_of_rfc_4180() -> None:
    panel = Curves('a "title", with\nlines', "x", "y", (Curve('a"b', [1], [2], "batch"),))
    text = to_csv(Figure("a", "A", "", (panel,)))

    assert text.startswith(",".join(COLUMNS) + "\r\n")
    assert text.endswith("\r\n")
    assert '"a ""title"", with\nlines"' in text
    [row] = rows(Figure("a", "A", "", (panel,)))
    assert (row["title"], row["series"]) == (panel.title, 'a"b')


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\uff1d1", "'\uff1d1"),
        ("-0.5", "-0.5"),
        ("+1e3", "+1e3"),
        ("batch", "batch"),
        ("", ""),
    ],
)
def test_no_text_is_a_formula(text: str, written: str) -> None:
    assert guarded(text) == written
    panel = Curves("p", "x", "y", (Curve(text, [1], [2], "batch"),))
    [row] = rows(Figure("a", "A", "", (panel,)))
    assert row["series"] == written
