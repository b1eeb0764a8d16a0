"""What stands in the axes is what the figure says."""

from math import inf, nan

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex

from model.figures.charts import (
    Bars,
    BarSeries,
    Curve,
    Curves,
    Guide,
    Map,
    Path,
    Ridges,
    Surface,
)
from model.figures.colours import GAP
from model.figures.draw_curves import MOST_POINTS, kept_of, nth
from model.figures.look import BLUE, GREEN, VERMILLION
from tests.drawings import figure, laid, svg_texts


def lines(axes: Axes, mark: str) -> list[np.ndarray]:
    """Points of the lines that have a mark, (points, 2) each."""
    return [
        np.column_stack(line.get_data()).astype(float)
        for line in axes.get_lines()
        if line.get_marker() == mark
    ]


def test_a_curve_has_its_numbers_and_a_logarithmic_axis_their_logarithms() -> None:
    x, y = [1.0, 10.0, 100.0], [3.0, 2.0, 1.0]
    for is_log in (False, True):
        panel = Curves("p", "x", "y", (Curve("c", x, y, "batch"),), is_log, is_log)

        [found] = lines(laid(figure(panel)).axes[0], "o")

        expected = np.column_stack([x, y])
        np.testing.assert_allclose(found, np.log10(expected) if is_log else expected)


def test_a_role_has_its_colour_everywhere() -> None:
    roles = {"batch": BLUE, "none": VERMILLION, "noisy": GREEN}
    curves = tuple(Curve(role, [0, 1], [0, 1], role) for role in roles)  # type: ignore[arg-type]
    axes = laid(figure(Curves("p", "x", "y", curves))).axes[0]

    drawn = [to_hex(line.get_color()).upper() for line in axes.get_lines()[:3]]

    assert drawn == list(roles.values())


def test_a_band_is_labelled_with_its_seeds() -> None:
    band = Curve("batch", [0, 1], [1, 1], "batch", [0, 0], [2, 2], 3, band="min to max")

    assert "batch (min to max: n = 3)" in svg_texts(figure(Curves("p", "x", "y", (band,))))


def test_what_cannot_be_drawn_is_crossed_on_the_nearer_edge() -> None:
    curve = Curve("c", [0, 1, 2, 3, 4, 5], [1, nan, inf, 2, -inf, 1], "batch")
    axes = laid(figure(Curves("p", "x", "y", (curve,)))).axes[0]

    [crosses] = lines(axes, "x")

    there = crosses[np.isfinite(crosses[:, 0])]
    assert there[:, 0].tolist() == [1, 2, 4]
    assert (there[:2, 1] > 0.9).all()
    assert there[2, 1] < 0.1
    [drawn] = lines(axes, "o")
    assert np.isnan(drawn[:, 1]).tolist() == [False, True, True, False, True, False]


def test_crosses_of_two_curves_do_not_hide_each_other() -> None:
    curves = (
        Curve("a", [0, 1], [nan, 1], "batch"),
        Curve("b", [0, 1], [nan, 1], "none"),
    )
    one, two = lines(laid(figure(Curves("p", "x", "y", curves))).axes[0], "x")

    assert one[0, 0] == two[0, 0]
    assert abs(one[0, 1] - two[0, 1]) > 0.02


def test_a_band_that_is_infinite_reaches_the_edge_and_is_crossed() -> None:
    curve = Curve("c", [0, 1, 2], [1, 1, 1], "batch", [0, 0, 0], [2, inf, 2], 3)
    axes = laid(figure(Curves("p", "x", "y", (curve,)))).axes[0]

    [band] = [of for of in axes.collections if of.get_paths() and of.get_alpha() == 0.2]
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(axes.get_ylim()[1])
    assert lines(axes, "x")[0][0, 0] == 1


def test_a_long_curve_is_thinned_and_says_so() -> None:
    length = 5000
    y = [float(k) for k in range(length)]
    y[1001:1004] = [nan, inf, nan]
    curve = Curve("loss", list(range(length)), y, "batch")

    kept = kept_of(curve, is_log=False)

    assert len(kept) <= MOST_POINTS
    assert set(range(0, length, 3)) | {length - 1, 1001, 1003} == set(kept.tolist())
    told = svg_texts(figure(Curves("p", "x", "y", (curve,))))
    assert "loss: every 3rd of 5,000 points is drawn" in told
    short = Curve("loss", list(range(MOST_POINTS)), y[:MOST_POINTS], "batch")
    assert len(kept_of(short, is_log=False)) == MOST_POINTS


def test_ordinal_numbers_are_english() -> None:
    numbers = (1, 2, 3, 4, 11, 12, 13, 21, 102, 113, 1001)

    told = " ".join(map(nth, numbers))

    assert told == "1st 2nd 3rd 4th 11th 12th 13th 21st 102nd 113th 1,001st"


def test_points_beyond_a_given_range_are_told() -> None:
    curve = Curve("loss", [0, 1, nan], [0.5, 7, 0.5], "batch")
    panel = Curves("p", "x", "y", (curve,), y_range=(0, 1))

    told = svg_texts(figure(panel))

    assert laid(figure(panel)).axes[0].get_ylim() == (0, 1)
    assert {"loss: 1 point beyond the axes", "loss: 1 point without a place on the x axis"} <= set(
        told
    )


def test_guides_stand_at_their_numbers_and_in_the_legend() -> None:
    guides = (Guide(0.85, "85 %"), Guide(100, "the end", axis="x"))
    panel = Curves("p", "x", "y", (Curve("c", [1, 2], [0.1, 0.2], "batch"),), guides=guides)

    sheet = laid(figure(panel))

    drawn = [np.column_stack(line.get_data()).tolist() for line in sheet.axes[0].get_lines()]
    assert [[0.0, 0.85], [1.0, 0.85]] in drawn
    assert [[100.0, 0.0], [100.0, 1.0]] in drawn
    assert {"85 %", "the end"} <= set(sheet.texts)


def test_words_of_a_mark_stand_above_the_axes() -> None:
    panel = Curves(
        "p", "x", "y", (Curve("c", [0, 1], [0, 1], "batch"),), marks=((0.5, 0.5, "half"),)
    )
    sheet = laid(figure(panel))

    [word] = [word for word in sheet.words if word.text == "half"]
    assert word.bottom >= sheet.axes[0].get_window_extent().y1


def test_legends_never_cover_axes() -> None:
    curves = tuple(Curve(f"a long name of curve {k}", [0, 1], [0, 1], "batch") for k in range(9))
    one = Curves("one", "x", "y", curves)
    other = Curves("other", "x", "y", curves[:4])

    for panels in ((one,), (one, other)):
        sheet = laid(figure(*panels, columns=2))
        boxes = [axes.get_window_extent() for axes in sheet.axes]
        for word in sheet.words:
            if word.text.startswith("a long name"):
                assert all(
                    word.right <= box.x0
                    or word.left >= box.x1
                    or word.top <= box.y0
                    or word.bottom >= box.y1
                    for box in boxes
                )


def test_panels_with_equal_legends_share_one() -> None:
    curves = (Curve("batch", [0, 1], [0, 1], "batch"), Curve("none", [0, 1], [0, 1], "none"))
    one, other = (Curves(name, "x", "y", curves) for name in ("one", "other"))
    different = Curves("other", "x", "y", curves[:1])

    assert laid(figure(one, other)).texts.count("batch") == 1
    assert laid(figure(one, different)).texts.count("batch") == 2


def test_bars_start_at_zero_and_end_at_their_numbers() -> None:
    series = (
        BarSeries("a", [1.0, -2.0, nan], "batch", [0.5, -3, nan], [1.5, -1, nan]),
        BarSeries("b", [3.0, 4.0, 5.0], "none", seeds=([2.5, 3.5], [4], [])),
    )
    axes = laid(figure(Bars("p", "y", ("g", "h", "i"), series))).axes[0]

    bars = [(bar.get_y(), bar.get_height()) for bar in axes.patches]
    assert bars == [(0, 1), (0, -2), (0, 3), (0, 4), (0, 5)]
    middles = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
    assert np.floor(middles).tolist() == [0, 1, 0, 1, 2]
    [dots] = lines(axes, "o")
    assert sorted(dots[:, 1]) == [2.5, 3.5, 4]
    low, high = lines(axes, "_")[:2]
    assert (low[:, 1].tolist(), high[:, 1].tolist()) == ([0.5, -3], [1.5, -1])
    assert len(lines(axes, "x")) == 3  # the value, and both ends of the interval


def test_ridges_stand_above_each_other_from_the_first_at_the_bottom() -> None:
    edges = ([0, 1, 2],) * 3
    densities = ([1, 0], [0, 2], [nan, 1])
    panel = Ridges("p", "x", ("step 0", "step 1", "step 2"), edges, densities)
    sheet = laid(figure(panel))
    axes = sheet.axes[0]

    outlines = [np.column_stack(line.get_data()) for line in axes.get_lines()]
    outlines = [of.astype(float) for of in outlines if len(of) == 6]
    first, second = outlines
    assert first[:, 1].min() == 0.5
    assert second[:, 1].min() == 1.5
    assert (second[:, 1].max() - 1.5) == pytest.approx(2 * (first[:, 1].max() - 0.5))
    assert [list(of[:, 0]) for of in outlines] == [[0, 0, 1, 1, 2, 2]] * 2
    assert axes.get_ylim()[1] > second[:, 1].max()
    assert len(lines(axes, "x")) == 1
    heights = {word.text: word.bottom for word in sheet.words}
    assert heights["step 0"] < heights["step 1"] < heights["step 2"]


def test_cells_have_the_colour_of_their_number_and_their_text() -> None:
    rows = ([0.0, 1.0], [nan, 0.5])
    texts = (("zero", "one"), ("none", "half"))
    sheet = laid(figure(Map("m", "x", "y", rows, "c", texts=texts, range=(0, 1))))

    [mesh] = [of for of in sheet.axes[0].collections if isinstance(of, QuadMesh)]
    colours = [to_hex(of) for of in np.asarray(mesh.get_facecolor())]
    assert colours[2].upper() == GAP
    assert len(set(colours)) == 4
    places = {word.text: (word.left, word.bottom) for word in sheet.words}
    assert places["zero"][0] < places["one"][0]
    assert places["zero"][1] > places["none"][1]  # the first row is on top


def test_cells_that_are_too_small_for_their_texts_say_so() -> None:
    rows = tuple([float(k) for k in range(40)] for _ in range(3))
    texts = tuple(tuple("a long text" for _ in range(40)) for _ in range(3))

    told = svg_texts(figure(Map("m", "x", "y", rows, "c", texts=texts)))

    assert "m: the cells are too small for their texts" in told
    assert "a long text" not in told


def test_cells_beyond_a_given_range_are_told() -> None:
    panel = Map("m", "x", "y", ([0.0, 1.0, 2.0, 3.0],), "c", range=(0, 1))

    assert "m: 2 cells beyond the colours, shown as their ends" in svg_texts(figure(panel))


def test_a_diverging_map_has_zero_in_its_middle() -> None:
    sheet = laid(figure(Map("m", "x", "y", ([-1.0, 0.0, 4.0],), "c", scale="diverging")))

    [mesh] = [of for of in sheet.axes[0].collections if isinstance(of, QuadMesh)]
    assert to_hex(np.asarray(mesh.get_facecolor())[1]) in {"#ffffff", "#fefefe", "#fffefe"}


def test_a_path_ends_in_a_star_and_says_what_is_beyond_the_plane() -> None:
    axis = [0.0, 1.0, 2.0]
    z = ([1.0, 2.0, 3.0],) * 3
    path = Path("start A", [0.0, 1.0, 5.0, 2.0], [0.0, 1.0, 1.0, 2.0], "batch")
    panel = Surface("s", "x", "y", axis, axis, z, "loss", paths=(path,))

    axes = laid(figure(panel)).axes[0]

    assert lines(axes, "*")[0].tolist() == [[2, 2]]
    assert "start A: 1 point beyond the plane" in svg_texts(figure(panel))


def test_many_names_of_groups_stand_upright() -> None:
    groups = tuple(f"{k}.conv.weight" for k in range(30))
    sheet = laid(figure(Bars("p", "y", groups, (BarSeries("a", [1.0] * 30, "batch"),))))

    boxes = [word for word in sheet.words if word.text.endswith(".conv.weight")]

    assert len(boxes) == 30
    assert all(word.top - word.bottom > word.right - word.left for word in boxes)


def test_a_label_that_is_cut_beside_its_axes_is_whole_at_the_foot() -> None:
    label = "a label of the axis that says far more than it needs to " * 8
    sheet = laid(figure(Curves("p", "x", label, ())))

    cut = [text for text in sheet.texts if text.endswith("…")]
    assert len(cut) == 1
    foot = " ".join(word.text for word in sheet.words if word.left < 60)
    assert " ".join(label.split()) in foot
