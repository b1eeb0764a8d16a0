from math import inf, nan
from xml.etree import ElementTree

from model.lab.report import Table, table_json
from model.pages.tables import report_table, table


def read(html: str) -> tuple[list[str], list[list[str]], list[str | None]]:
    """Headings, cells and the classes of the first row."""
    root = ElementTree.fromstring(html)
    body = [["".join(cell.itertext()) for cell in row] for row in root.findall(".//tbody/tr")]
    first = root.find(".//tbody/tr")
    classes = [] if first is None else [cell.get("class") for cell in first]
    return ["".join(cell.itertext()) for cell in root.iter("th")], body, classes


def test_cells_are_written_as_a_person_would() -> None:
    told = Table(
        "t",
        "T",
        ("arm", "steps", "loss", "reached"),
        (("<b>", 12989, 0.123456, True), ("none", None, nan, False), ("x", 1, -inf, None)),
        "A note <b>.",
    )

    columns, rows, classes = read(report_table(table_json(told)))

    assert columns == ["arm", "steps", "loss", "reached"]
    assert rows == [
        ["<b>", "12,989", "0.1235", "yes"],
        ["none", "\u2013", "NaN", "no"],
        ["x", "1", "\u2212\u221e", "\u2013"],
    ]
    assert classes == [None, "number", "number", None]
    assert "A note &lt;b&gt;." in report_table(table_json(told))


def test_a_table_without_rows_keeps_its_headings() -> None:
    assert read(report_table(table_json(Table("t", "T", ("a", "b"), ())))) == (["a", "b"], [], [])


def test_a_column_that_is_empty_is_left_out_and_a_long_one_is_kept_wide() -> None:
    columns, rows, classes = read(
        table(("a", "b", "c"), [["1", "", "words " * 9], ["2", "", ""]], (True, False, False))
    )

    assert columns == ["a", "c"]
    assert rows == [["1", "words " * 9], ["2", ""]]
    assert classes == ["number", "long"]
