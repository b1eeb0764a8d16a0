"""Curves over seeds: the runs of one arm as a line with a band."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, nan
from statistics import median

from model.figures.charts import Curve, Role
from model.lab.results import RunResult, Series


def band(runs: Sequence[RunResult], name: str, label: str, role: Role) -> Curve:
    """A metric of some runs: the median over seeds, and a band from the lowest to the highest.

    A step counts at which any run has a point; where a run has none any more, because it
    diverged, its value there is NaN, and so is the band's.

    Args:
        runs: of one arm, one a seed.
        name: of the metric.
    """
    return over_seeds([run.series.get(name, Series((), ())) for run in runs], label, role)


def over_seeds(series: Sequence[Series], label: str, role: Role) -> Curve:
    """The same of any series, one a seed."""
    return by_place([dict(zip(one.steps, one.values, strict=True)) for one in series], label, role)


def by_place(seeds: Sequence[Mapping[float, float]], label: str, role: Role) -> Curve:
    """The same of values over anything, by its place on the x axis, one mapping a seed."""
    places = sorted({place for one in seeds for place in one})
    columns = [[one.get(place, nan) for one in seeds] for place in places]
    return Curve(
        label=label,
        x=places,
        y=[_of(column, median) for column in columns],
        role=role,
        low=[_of(column, min) for column in columns] if len(seeds) > 1 else None,
        high=[_of(column, max) for column in columns] if len(seeds) > 1 else None,
        n=len(seeds),
    )


def _of(values: list[float], reduce: Callable[[list[float]], float]) -> float:
    return reduce(values) if all(isfinite(value) for value in values) else nan
