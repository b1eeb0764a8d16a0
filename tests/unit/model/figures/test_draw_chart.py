"""Every panel draws, whatever its numbers are, and no word is cut off or in another's place."""

import base64
import io
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import inf, nan
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from model.figures.charts import (
    Bars,
    BarSeries,
    Curve,
    Curves,
    Figure,
    Guide,
    Map,
    Panel,
    Path,
    Ridges,
    Surface,
)
from model.figures.draw_chart import png, svg
from tests.drawings import SVG, figure, laid, svg_texts

LONG = "a name that is much longer than anybody would like it to be, with (units) " * 3
WORD = "Antidisestablishmentarianism_of_the_running_statistics_" * 4
HOSTILE = '<b>&"$\\frac{1$\x00\u202e\ud800 \u05d0 =1+1'


def curves(numbers: list[float], is_log: bool, label: str = "batch norm") -> Panel:
    x = [float(k + 1) for k in range(len(numbers))]
    one = Curve(label, x, numbers, "batch", numbers, [2 * of for of in numbers], 3)
    others = (
        replace(one, label=f"{label}, test", style="dashed"),
        Curve("points", x, numbers, "none", style="points", low=numbers, high=numbers, n=3),
        Curve("steps", x, numbers, "noisy", style="steps"),
    )
    guides = (Guide(0.5, label), Guide(2, "a step", axis="x"))
    marks = ((1.0, 1.0, "one"), (2.0, 1.0, label), (2.0, 2.0, "two"))
    return Curves(label, label, label, (one, *others), is_log, is_log, guides, marks)


def ridges(numbers: list[float], is_log: bool, label: str = "batch norm") -> Panel:
    several = [numbers, numbers, [0.0] * len(numbers)]
    edges = tuple(list(np.linspace(-1, 1, len(numbers) + 1)) for _ in several)
    labels = tuple(f"{label} {k}" for k in range(3))
    return Ridges(label, label, labels, edges, tuple(several), ((-1, -0.9),), "none", label)


def bars(numbers: list[float], is_log: bool, label: str = "batch norm") -> Panel:
    groups = tuple(f"{label} {k}" for k in range(len(numbers)))
    seeds = tuple((of, 2 * of, nan) for of in numbers)
    first = BarSeries(label, numbers, "batch", numbers, [2 * of for of in numbers], seeds)
    second = BarSeries("none", numbers, "none")
    return Bars(label, label, groups, (first, second), is_log, (Guide(0.5, label),))


def cells(numbers: list[float], is_log: bool, label: str = "batch norm") -> Panel:
    rows = (numbers, numbers[::-1], numbers)
    return Map(label, label, label, rows, label, y_ticks=(label, "2", "3"), log=is_log)


def surface(numbers: list[float], is_log: bool, label: str = "batch norm") -> Panel:
    axis = [float(k) for k in range(len(numbers))]
    z = tuple(numbers[k:] + numbers[:k] for k in range(len(numbers)))
    path = Path(label, [0.0, 1.0, 9.0, nan], [0.0, 0.5, 1.0, 1.0], "batch")
    return Surface(label, label, label, axis, axis, z, label, is_log, (path,), "held")


PANELS: dict[str, Callable[..., Panel]] = {
    "curves": curves,
    "ridges": ridges,
    "bars": bars,
    "map": cells,
    "surface": surface,
}
NUMBERS: dict[str, list[float]] = {
    "ordinary": [0.1, 0.5, 0.3, 0.9, 0.7],
    "empty": [],
    "one": [0.5],
    "equal": [3.0, 3.0, 3.0],
    "zero": [0.0, 0.0, 0.0],
    "nan": [nan, nan, nan],
    "infinite": [1.0, inf, -inf, nan, 2.0],
    "huge": [1e-300, 1e300, -1e300, 1e99, 5e-324],
    "negative": [-1.0, -5.0, 2.0, 0.0],
    "nearly equal": [1e9, 1e9 + 1e-3, 1e9],
    "many": [math.sin(k) + 2 for k in range(40)],
}


@pytest.mark.parametrize("numbers", NUMBERS)
def test_every_panel_is_drawn_with_each_word_in_its_own_place(numbers: str) -> None:
    panels = [
        make(NUMBERS[numbers], is_log) for make in PANELS.values() for is_log in (False, True)
    ]

    sheet = laid(
        figure(*panels, columns=2, title="Title", notes=("A note.",), share_x=False, share_y=False)
    )

    assert sheet.outside() == []
    assert sheet.overlapping() == []
    assert {"Title", "It is seen.", "A note."} <= set(sheet.texts)


@pytest.mark.parametrize(
    ("label", "columns"),
    [(LONG, 1), (LONG, 3), (WORD, 2), (HOSTILE, 2), ("", 3)],
    ids=["long", "long beside each other", "word", "hostile", "none"],
)
def test_words_of_any_length_stay_in_their_place(label: str, columns: int) -> None:
    panels = [make(NUMBERS["ordinary"], False, label) for make in PANELS.values()]

    sheet = laid(figure(*panels, title=label, evidence=label, notes=(label, "a"), columns=columns))

    assert sheet.outside() == []
    assert sheet.overlapping() == []


def test_a_figure_of_all_kinds_of_panels_has_them_in_rows() -> None:
    panels = [make(NUMBERS["ordinary"], False) for make in PANELS.values()]

    sheet = laid(figure(*panels, columns=2))

    lefts = [round(axes.get_position().x0, 6) for axes in sheet.axes]
    tops = [round(axes.get_position().y1, 6) for axes in sheet.axes]
    first, second = 0, 1
    assert tops[first] == tops[second]
    assert lefts[first] < lefts[second]
    assert sheet.overlapping() == []


def test_equal_figures_give_equal_bytes_from_any_thread() -> None:
    panels = tuple(
        PANELS[kind](NUMBERS["infinite"], False) for kind in ("curves", "map", "surface")
    )
    one = figure(*panels, columns=2)

    with ThreadPoolExecutor(2) as pool:
        drawn = list(pool.map(svg, [one] * 2))
        pixels = list(pool.map(png, [one] * 2))

    assert len(set(drawn)) == 1
    assert len(set(pixels)) == 1
    assert svg(figure(*panels, columns=1)) != drawn[0]


def test_a_png_has_150_pixels_per_inch_and_the_size_of_the_svg() -> None:
    one = figure(curves(NUMBERS["ordinary"], False))

    image = Image.open(io.BytesIO(png(one)))
    root = ElementTree.fromstring(svg(one))

    points = [float((root.get(side) or "").removesuffix("pt")) for side in ("width", "height")]
    assert image.size == pytest.approx([of * 150 / 72 for of in points], abs=1)
    assert image.size[0] == 1440


def test_the_title_of_the_document_is_that_of_the_figure() -> None:
    one = figure(curves(NUMBERS["one"], False), title='A <b> & "c"\n\x00')

    assert ElementTree.fromstring(svg(one)).findtext(f"{SVG}title") == 'A <b> & "c" \ufffd'


def test_a_page_that_says_title_and_notes_itself_has_a_drawing_without() -> None:
    x = [float(k) for k in range(5000)]
    panel = Curves("panel", "x", "y", (Curve("line", x, x, "batch"),))
    one = figure(panel, title="Title", evidence="Evidence", notes=("Note",))

    texts = svg_texts(one, lambda of: svg(of, with_words=False))

    assert not {"Title", "Evidence", "Note"} & set(texts)
    assert {"panel", "line: every 3rd of 5,000 points is drawn"} <= set(texts)
    assert {"Title", "Evidence", "Note"} <= set(svg_texts(one))


@pytest.mark.parametrize("kind", PANELS)
def test_what_is_not_finite_is_told(kind: str) -> None:
    assert "not finite" in svg_texts(figure(PANELS[kind](NUMBERS["infinite"], False)))
    assert "not finite" not in svg_texts(figure(PANELS["curves"](NUMBERS["ordinary"], False)))


@pytest.mark.parametrize("kind", ["curves", "bars", "map", "surface"])
def test_what_is_not_above_zero_on_a_logarithmic_scale_is_told(kind: str) -> None:
    told = svg_texts(figure(PANELS[kind](NUMBERS["negative"], True)))

    assert any("not above 0" in text for text in told)


def test_reasons_of_several_panels_are_told_once() -> None:
    panels = [curves(NUMBERS[numbers], True) for numbers in ("infinite", "negative")]

    told = [text for text in svg_texts(figure(*panels)) if "not" in text]

    assert told == ["not finite or not above 0"]


def test_arms_have_one_scale_unless_told_otherwise() -> None:
    def arm(scale: float) -> Curves:
        curve = Curve("loss", [0, scale], [scale, 0], "batch")
        return Curves(f"arm {scale}", "steps", "loss", (curve,))

    def limits(of: Figure) -> list[tuple[tuple[float, float], tuple[float, float]]]:
        return [(axes.get_xlim(), axes.get_ylim()) for axes in laid(of).axes]

    one, two = limits(figure(arm(1), arm(100)))
    assert one == two
    assert one[0][1] > 100

    one, two = limits(figure(arm(1), arm(100), share_x=False, share_y=False))
    assert max(one[0][1], one[1][1]) < 2 < min(two[0][1], two[1][1])

    other = replace(arm(100), y_label="accuracy")
    one, two = limits(figure(arm(1), other))
    assert one[0] == two[0]
    assert one[1] != two[1]


def test_maps_of_two_arms_have_one_scale_of_colours() -> None:
    first = Map("a", "x", "y", ([0.0, 1.0],), "loss")
    second = Map("b", "x", "y", ([0.0, 10.0],), "loss")

    shared = laid(figure(first, second))
    own = laid(figure(first, second, share_y=False))

    ticks = [[t.get_text() for t in axes.get_yticklabels()] for axes in shared.axes[1::2]]
    assert ticks[0] == ticks[1]
    own_ticks = [[t.get_text() for t in axes.get_yticklabels()] for axes in own.axes[1::2]]
    assert own_ticks[0] != own_ticks[1]


def test_a_large_map_keeps_every_cell_as_a_pixel() -> None:
    saturated = np.random.default_rng(0).random((200, 2000)) < 0.3
    rows = tuple(list(map(float, row)) for row in saturated)
    one = figure(Map("map", "unit", "example", rows, "", classes=("moves", "saturated")))

    root = ElementTree.fromstring(svg(one))

    link = "{http://www.w3.org/1999/xlink}href"
    files = [image.get(link) or "" for image in root.iter(f"{SVG}image")]
    images = [
        np.array(Image.open(io.BytesIO(base64.b64decode(of.partition(",")[2]))).convert("L"))
        for of in files
    ]
    [found] = [image for image in images if image.shape == (200, 2000)]
    dark = found < 128
    # An SVG's image may be stored from its lowest row upwards, and turned when it is shown.
    assert (dark == saturated).all() or (dark[::-1] == saturated).all()


def test_a_surface_says_where_its_statistics_come_from() -> None:
    told = svg_texts(figure(surface(NUMBERS["ordinary"], True)))

    assert "statistics held" in told


def test_classes_are_named_beside_their_colours_and_other_values_are_refused() -> None:
    told = svg_texts(figure(Map("map", "x", "y", ((0.0, 2.0),), "", classes=("a", "b", "c"))))
    assert [text for text in told if text in ("a", "b", "c")] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="other than its classes 0 to 1"):
        Map("map", "x", "y", ((0.0, 0.5),), "", classes=("a", "b"))


def test_a_plane_has_square_cells_and_axes_of_numbers() -> None:
    rows = tuple((float(row % 2),) * 60 for row in range(40))
    one = Map("map", "x", "y", rows, "", classes=("a", "b"), plane=(-3.0, 3.0, 10.0, 14.0))
    axes = laid(figure(one, one, columns=2)).axes[0]
    box = axes.get_window_extent()
    assert box.width / 60 == pytest.approx(box.height / 40, rel=0.01)
    columns = {
        tick.get_text(): at
        for tick, at in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)
    }
    heights = {
        tick.get_text(): at
        for tick, at in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
    }
    assert columns["0"] == pytest.approx(30)
    assert heights["12"] == pytest.approx(20)
    assert heights["11"] > heights["13"]
