"""One look for every figure: colours, type, lines. Equal data gives equal bytes.

The colours are told apart by the colour-blind, too: Okabe and Ito 2008,
https://jfly.uni-koeln.de/color/
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from threading import Lock
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

BLACK = "#000000"
ORANGE = "#E69F00"
SKY_BLUE = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"

INK = "#333333"  # text
PALE_INK = "#777777"  # axes, and what is said aside
GRID = "#E6E6E6"

POINTS_PER_INCH = 72
TEXT_POINTS = 9.0
TITLE_POINTS = 12.0

#: Matplotlib's settings where they are not its defaults.
LOOK: dict[RcKeyType, Any] = {
    # The first family comes with matplotlib, so that text is measured alike everywhere; it is
    # a wide one, so that text stays within its place where another is shown.
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": TEXT_POINTS,
    "axes.titlesize": TEXT_POINTS,
    "axes.labelsize": TEXT_POINTS,
    "xtick.labelsize": TEXT_POINTS - 1,
    "ytick.labelsize": TEXT_POINTS - 1,
    "legend.fontsize": TEXT_POINTS,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold dollars
    "axes.labelcolor": INK,
    "axes.edgecolor": PALE_INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": PALE_INK,
    "xtick.labelcolor": INK,
    "ytick.color": PALE_INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.5,
    "lines.markersize": 3.5,
    "svg.fonttype": "none",  # text as text: it can be read, searched and copied
    "svg.hashsalt": "evalmode",  # ids would be random without
}

_one_at_a_time = Lock()


def draw(title: str, inches: tuple[float, float], fill: Callable[[Figure], None]) -> bytes:
    """An SVG file of what `fill` draws; may be called from any thread.

    Matplotlib's settings belong to the process. So one figure is drawn at a time, from the
    defaults and this look alone, and then the settings are again what they were.

    Args:
        title: of the document; what is shown is the concern of `fill`. Legible, as every text
            of a figure (`model.figures.text`).
        inches: width and height; `fill` may set others.
        fill: gets an empty figure.
    """
    with _one_look():
        figure = Figure(figsize=inches)
        canvas = FigureCanvasSVG(figure)
        fill(figure)
        file = BytesIO()
        canvas.print_svg(file, metadata={"Title": title, "Date": None, "Creator": None})
    return file.getvalue()


def draw_pixels(
    title: str, inches: tuple[float, float], fill: Callable[[Figure], None], dpi: float
) -> bytes:
    """A PNG file of what `fill` draws, otherwise as `draw`.

    Args:
        dpi: pixels per inch.
    """
    with _one_look():
        figure = Figure(figsize=inches, dpi=dpi)
        canvas = FigureCanvasAgg(figure)
        fill(figure)
        file = BytesIO()
        canvas.print_png(file, metadata={"Title": title, "Software": None})
    return file.getvalue()


@contextmanager
def _one_look() -> Iterator[None]:
    with _one_at_a_time, matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever a matplotlibrc of this machine says
        matplotlib.rcParams.update(LOOK)
        yield
