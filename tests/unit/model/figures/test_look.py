"""Every figure: the same bytes wherever it is drawn, and nothing left behind."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.figure import Figure

from model.figures.look import draw


def fill(figure: Figure) -> None:
    axes = figure.subplots()
    axes.plot([0, 1], [2, 3], label="a line")
    figure.legend()


def test_settings_of_the_process_neither_show_nor_change() -> None:
    expected = draw("A", (3, 2), fill)

    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": None, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        assert draw("A", (3, 2), fill) == expected
        assert dict(matplotlib.rcParams) == before


def test_settings_come_back_after_a_failure() -> None:
    before = dict(matplotlib.rcParams)

    with pytest.raises(ZeroDivisionError):
        draw("A", (3, 2), lambda figure: 1 / 0)  # type: ignore[arg-type]

    assert dict(matplotlib.rcParams) == before
    assert draw("A", (3, 2), fill)  # nobody waits for the lock


def test_threads_draw_the_same_bytes() -> None:
    expected = draw("A", (3, 2), fill)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: draw("A", (3, 2), fill), range(8))) == {expected}


def test_a_file_has_its_size_and_title_and_no_date() -> None:
    svg = draw("A < B", (3, 2), fill)

    root = ElementTree.fromstring(svg)
    assert (root.get("width"), root.get("height")) == ("216pt", "144pt")
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "A < B"
    assert b"date" not in svg
    assert b"atplotlib v" not in svg


SCRIPT = """
import sys
import model.figures.history as history
assert "matplotlib" not in sys.modules, "loaded before a figure is drawn"
svg = history.history_svg({"run": None, "points": [], "of": 0})
assert "matplotlib.pyplot" not in sys.modules
sys.stdout.buffer.write(svg)
"""


def test_a_home_that_cannot_be_written_is_neither_an_error_nor_a_warning(tmp_path: Path) -> None:
    from model.figures.history import history_svg

    hidden = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    # A home below a file: nobody can write there, root neither.
    env |= {"HOME": "/dev/null/home", "TMPDIR": str(tmp_path)}

    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], env=env, capture_output=True
    )

    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout == history_svg({"run": None, "points": [], "of": 0})
    assert list(tmp_path.iterdir()) == []
