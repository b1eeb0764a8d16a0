"""How well each network fits its rows, and of rows in a plane, what it makes of the plane."""

from collections.abc import Iterator, Sequence
from math import nan
from statistics import fmean

import torch

from model.figures.charts import Bars, BarSeries, Curves, Figure, Map, Role
from model.lab.affine.plan import ARMS, AffineParams, Arm, Cell, cells
from model.lab.bands import band
from model.lab.compare import Of
from model.lab.results import Results, RunResult

ROLES: dict[Arm, Role] = {"none": "none", "affine": "batch", "plain": "other"}
WORDS: dict[Arm, str] = {
    "none": "no norm",
    "affine": "batch norm",
    "plain": "batch norm without gain and bias",
}
CELLS = 64  # of the plane, along each axis


def figures(params: AffineParams, results: Results, accuracy: Of) -> Iterator[Figure]:
    """Every figure that the runs can show.

    Args:
        accuracy: of a finished run on its training rows, percent.
    """
    if not any(run.counts for run in results.runs):
        return
    yield _bars(params, results, accuracy)
    yield _curves(params, results)
    found = _planes(params, results)
    if found is not None:
        yield found


def _bars(params: AffineParams, results: Results, accuracy: Of) -> Figure:
    asked = cells(params)
    series = tuple(_series(asked, results, arm, accuracy) for arm in ARMS)
    groups = tuple(cell.name for cell in asked)
    panel = Bars("on all training rows", "training accuracy, percent", groups, series)
    evidence = "The claim: gain and bias give back what batch norm alone takes away."
    return Figure("accuracy", "What the finished networks fit", evidence, (panel,))


def _series(asked: Sequence[Cell], results: Results, arm: Arm, of: Of) -> BarSeries:
    runs = [results.of(cell.arm(arm)) for cell in asked]
    seeds = tuple([v for v in (of(run).value for run in one) if v is not None] for one in runs)
    means = [fmean(values) if values else nan for values in seeds]
    return BarSeries(WORDS[arm], means, ROLES[arm], seeds=seeds)


def _curves(params: AffineParams, results: Results) -> Figure:
    panels = tuple(_panel(results, cell) for cell in cells(params))
    return Figure(
        "training",
        "Training accuracy while training",
        "Whether what a network does not fit is a matter of more steps.",
        panels,
        columns=2,
    )


def _panel(results: Results, cell: Cell) -> Curves:
    runs = {arm: results.of(cell.arm(arm)) for arm in ARMS}
    curves = tuple(
        band(runs[arm], "train_accuracy", WORDS[arm], ROLES[arm]) for arm in ARMS if runs[arm]
    )
    return Curves(cell.name, "optimizer steps", "training accuracy", curves, y_range=(0.0, 1.0))


def _planes(params: AffineParams, results: Results) -> Figure | None:
    """The class that each point of the plane gets, where rows are points of a plane."""
    cell = cells(params)[0]
    first = [(arm, run) for arm in ARMS for run in results.of(cell.arm(arm))[:1]]
    if not first or results.dataset(first[0][1]).facts.input_shape != (2,):
        return None
    panels = tuple(one for arm, run in first if (one := _plane(results, arm, run)) is not None)
    if not panels:
        return None
    return Figure(
        "plane",
        f"Class of every point of the plane, {cell.name}",
        "The claim: without a bias every unit bends at the middle of the rows, whatever it looks "
        "at.",
        panels,
        columns=len(panels),
        notes=("First seed; axes are the scaled features, in the range of the training rows.",),
    )


@torch.no_grad()
def _plane(results: Results, arm: Arm, run: RunResult) -> Map | None:
    loaded, rows = results.trained(run), results.start(run).arrays.train.inputs
    if loaded is None:
        return None
    low, high = rows.min(0).values, rows.max(0).values
    if not (high > low).all():
        return None  # all rows are on a line
    centres = (torch.arange(CELLS, dtype=rows.dtype)[:, None] + 0.5) / CELLS
    x, y = (low + centres * (high - low)).T
    grid = torch.stack(torch.meshgrid(x, y.flip(0), indexing="xy"), 2)
    logits = loaded.network(grid.reshape(-1, 2))
    classes, count = logits.argmax(1).reshape(CELLS, CELLS), logits.shape[1]
    return Map(
        WORDS[arm],
        "first feature",
        "second feature",
        tuple(tuple(map(float, row)) for row in classes.tolist()),
        "class",
        classes=tuple(map(str, range(count))),
        plane=(float(low[0]), float(high[0]), float(low[1]), float(high[1])),
    )
