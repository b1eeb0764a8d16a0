"""The history of running statistics as a figure: how far they are from the population's."""

from collections.abc import Mapping
from typing import Any

from model.figures.distances import evenly, layer_distances
from model.figures.text import counted, legible

TITLE = "Running statistics and those of one batch, against the population's"
MOST_LAYERS = 12
MOST_NAME = 40  # characters of a run's id


def history_svg(history: Mapping[str, Any]) -> bytes:
    """Draw each norm layer's distance from the population over the optimizer steps.

    A row per layer: on the left |mean - population mean| in population deviations, on the
    right ln(variance / population variance), of the running statistics and of one training
    batch. A line is the median of the channels, its band their middle half; a cross marks a
    checkpoint at which a number is missing or not finite. Rows share their scales. Of more
    than 12 layers 12 are shown, evenly chosen.

    Args:
        history: `run` (null for what was trained elsewhere), `points` by ascending step, each
            with `step`, `rows` and the `layers` of `model.statistics.history.point`, and `of`,
            how many points there are when some are left out.

    Returns:
        An SVG file; equal histories give equal bytes.
    """
    # Here, because it loads matplotlib: a second that a process without figures need not spend.
    from model.figures.panels import draw_nothing, draw_panels

    points = list(history["points"])
    layers = layer_distances(points)
    shown = evenly(layers, MOST_LAYERS)
    told = [_whose(history["run"], points)]
    counts = {"layer": (len(shown), len(layers)), "checkpoint": (len(points), history["of"])}
    if left_out := [_part(of, *count) for of, count in counts.items() if count[0] < count[1]]:
        told.append(f"Shown, evenly chosen: {' and '.join(left_out)}")
    if not points:
        return draw_nothing(TITLE, told, "there is no checkpoint yet")
    if not shown:
        return draw_nothing(TITLE, told, "no layer keeps running statistics")
    return draw_panels(TITLE, told, [point["step"] for point in points], shown)


def _whose(run: str | None, points: list[Mapping[str, Any]]) -> str:
    """Of which run, of how many checkpoints, and of how many rows the population is."""
    rows = max((point["rows"] for point in points), default=0)
    told = [
        "trained elsewhere" if run is None else legible(run, MOST_NAME),
        counted(len(points), "checkpoint"),
        f"population: {counted(rows, 'training row') if rows else 'unknown'}",
    ]
    return " · ".join(told)


def _part(of: str, shown: int, all_of_them: int) -> str:
    return f"{shown:,} of {counted(all_of_them, of)}"
