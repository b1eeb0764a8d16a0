"""Figures of the laboratory as files: SVG for pages, PNG for what cannot show one."""

from model.figures.charts import Figure

DPI = 150
_ANY_SIZE = (1.0, 1.0)  # the sheet gives the paper its own
_MOST_TITLE = 200  # characters, of the document


def svg(figure: Figure, with_words: bool = True) -> bytes:
    """A figure as an SVG file; equal figures give equal bytes, from any thread.

    Text is text: it can be read, searched and copied. What cannot be drawn (a number that is
    not finite, or not above 0 on a logarithmic axis) is marked with a cross at its place on the
    edge; what was thinned out or is beyond an axis is told at the foot.

    Args:
        with_words: whether title, evidence and the figure's own notes are on it. A page that
            says them itself has them off.
    """
    # Here, because they load matplotlib: a second that a process without figures need not spend.
    from model.figures.look import draw
    from model.figures.sheet import fill

    return draw(_title(figure), _ANY_SIZE, lambda paper: fill(paper, figure, with_words))


def png(figure: Figure) -> bytes:
    """A figure as a PNG file of 150 pixels per inch, otherwise as `svg`."""
    from model.figures.look import draw_pixels
    from model.figures.sheet import fill

    return draw_pixels(_title(figure), _ANY_SIZE, lambda paper: fill(paper, figure), DPI)


def _title(figure: Figure) -> str:
    """Of the document: in one line, in characters that XML can hold."""
    kept = (one if one.isprintable() else "\ufffd" for one in " ".join(figure.title.split()))
    return "".join(kept)[:_MOST_TITLE]
