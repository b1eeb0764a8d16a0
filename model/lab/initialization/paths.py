"""Where training goes from the three starts, seen in the plane of their three end points."""

from dataclasses import dataclass
from itertools import chain

from torch import Tensor

from model.figures.charts import Figure, Path, Role, Surface
from model.figures.text import percent
from model.lab.initialization.plan import NORMS, Params, arm_of, start_name
from model.lab.objectives import on_training_rows
from model.lab.results import Results, RunResult
from model.measures.objective import flatten, parameters_of
from model.measures.plane import Projected, plane_through, window

ROLES: tuple[Role, ...] = ("other", "third", "fourth")  # of the starts
LINES = 25  # of the grid each way
MOST_LOSS = 1e3  # drawn: above, a loss is as good as infinite


@dataclass(frozen=True)
class Drawn:
    """A figure, or why there is none, and what must be said of it."""

    figures: tuple[Figure, ...]
    caveats: tuple[str, ...]


def draw(params: Params, results: Results) -> Drawn:
    """The paths of the first seed, a plane for each arm."""
    surfaces, caveats = list[Surface](), list[str]()
    for norm in NORMS:
        runs = _runs(params, results, norm)
        if None in runs:
            caveats.append(f"The paths of {norm} are not drawn: a run of them is missing.")
            continue
        try:
            surface, off = _surface(params, results, norm, [run for run in runs if run is not None])
        except ValueError as error:
            caveats.append(f"The paths of {norm} are not drawn: {error}.")
            continue
        surfaces.append(surface)
        caveats.append(
            f"In the plane of the three end points of {norm}, up to {percent(off)} of a path's "
            "distance from their middle is across the plane, and not seen."
        )
    return Drawn((_figure(params, surfaces),) if surfaces else (), tuple(caveats))


def _figure(params: Params, surfaces: list[Surface]) -> Figure:
    return Figure(
        "trajectories",
        f"Paths from the three starts at learning rate {params.path_rate:g}",
        "With batch norm training arrives from all three starts; without, it depends on the start.",
        tuple(surfaces),
        columns=2,
        notes=(
            "first seed; the plane through the three end points of each arm",
            f"losses above {MOST_LOSS:g} have the colour of {MOST_LOSS:g}",
        ),
    )


def _runs(params: Params, results: Results, norm: str) -> list[RunResult | None]:
    arms = [arm_of(norm, gain, params.path_rate) for gain in params.gains]
    seeds = results.planned_seeds
    return [results.run(arm, seeds[0]) if seeds else None for arm in arms]


def _surface(
    params: Params, results: Results, norm: str, runs: list[RunResult]
) -> tuple[Surface, float]:
    """The surface, and the largest share of a path that lies across it.

    Raises:
        ValueError: the end points span no plane.
    """
    paths = [_path(results, run) for run in runs]
    plane = plane_through(*(path[-1] for path in paths))
    seen = [plane.project(path) for path in paths]
    x, y = window(seen, LINES)
    losses = plane.losses(on_training_rows(results.start(runs[0]), results.moved), x, y)
    surface = Surface(
        title="without norm" if norm == "none" else "with batch norm",
        x_label="from A's end towards B's",
        y_label="at a right angle, towards C's end",
        x=x,
        y=y,
        z=tuple([min(loss, MOST_LOSS) if loss == loss else loss for loss in row] for row in losses),
        colour_label="loss on training rows",
        paths=tuple(
            Path(_label(params, gain, run), one.x, one.y, role)
            for gain, run, one, role in zip(params.gains, runs, seen, ROLES, strict=True)
        ),
        statistics="recomputed at every point" if norm != "none" else "",
    )
    return surface, _off(seen)


def _path(results: Results, run: RunResult) -> list[Tensor]:
    """The parameters at the start and at every checkpoint, (P,) each."""
    points = [parameters_of(results.start(run).network)]
    for saved in run.checkpoints:
        loaded = results.trained(run, saved.step)
        if loaded is not None:
            points.append(parameters_of(loaded.network))
    return [flatten(point) for point in points]


def _off(seen: list[Projected]) -> float:
    return max(chain.from_iterable(one.off for one in seen))


def _label(params: Params, gain: float, run: RunResult) -> str:
    name = start_name(params, gain)
    return f"{name}, diverged at step {run.step:,}" if run.has_diverged else name
