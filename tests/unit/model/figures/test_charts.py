import pytest

from model.figures.charts import (
    Bars,
    BarSeries,
    Curve,
    Curves,
    Figure,
    Map,
    Path,
    Ridges,
    Surface,
)

PANEL = Curves("a", "x", "y", ())


@pytest.mark.parametrize("name", ["", "Loss", "a/b", "a b", "a" * 65, "é"])
def test_a_name_that_is_no_address_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="small letters, digits and hyphens"):
        Figure(name, "title", "", (PANEL,))


def test_a_figure_has_panels_and_columns() -> None:
    with pytest.raises(ValueError, match="figure a has no panel"):
        Figure("a", "title", "", ())
    with pytest.raises(ValueError, match="figure a has 0 columns"):
        Figure("a", "title", "", (PANEL,), columns=0)


def test_parts_that_belong_together_have_one_length() -> None:
    with pytest.raises(ValueError, match=r"curve 'loss' has parts of unequal lengths: x 2, y 1"):
        Curve("loss", [1, 2], [1], "batch")
    with pytest.raises(ValueError, match=r"low 1, high 2"):
        Curve("loss", [1, 2], [1, 2], "batch", [1], [1, 2])
    with pytest.raises(ValueError, match="one end of a band without the other"):
        Curve("loss", [1, 2], [1, 2], "batch", low=[1, 2])
    with pytest.raises(ValueError, match="labels 1, edges 2, densities 1"):
        Ridges("r", "x", ("a",), ([0, 1], [0, 1]), ([1],))
    with pytest.raises(ValueError, match="1 edges of 1 bins"):
        Ridges("r", "x", ("a",), ([0],), ([1],))
    with pytest.raises(ValueError, match=r"bars 'b' .* groups 2, values 1"):
        Bars("t", "y", ("a", "b"), (BarSeries("b", [1], "batch"),))
    with pytest.raises(ValueError, match="groups 1, values 1, seeds 2"):
        Bars("t", "y", ("a",), (BarSeries("b", [1], "batch", seeds=([1], [2])),))
    with pytest.raises(ValueError, match="first_row 2, row 1"):
        Map("m", "x", "y", ([1, 2], [1]), "c")
    with pytest.raises(ValueError, match="columns 2, x_ticks 1"):
        Map("m", "x", "y", ([1, 2],), "c", x_ticks=("a",))
    with pytest.raises(ValueError, match="rows 1, y_ticks 2"):
        Map("m", "x", "y", ([1, 2],), "c", y_ticks=("a", "b"))
    with pytest.raises(ValueError, match="first_row 2, row 1"):
        Map("m", "x", "y", ([1, 2],), "c", texts=(("a",),))
    with pytest.raises(ValueError, match="path 'p' has parts of unequal lengths: x 1, y 0"):
        Path("p", [1], [], "batch")
    with pytest.raises(ValueError, match="y 2, rows 1"):
        Surface("s", "x", "y", [1], [1, 2], ([1],), "loss")
    with pytest.raises(ValueError, match="x 2, columns 1"):
        Surface("s", "x", "y", [1, 2], [1], ([1],), "loss")
