"""One metric of every run as the number that arms are compared by, in `pair` and in `sweep`."""

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import Field

from model.lab.compare import Of, Outcome, last, mean_between
from model.lab.experiment import Params
from model.lab.fields import Base
from model.lab.results import RunResult
from model.lab.verdict import Bound

MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_./-]{0,99}$")]
BASE: dict[str, Any] = {
    "dataset": "digits",
    "network": {"kind": "mlp", "hidden": [100, 100, 100]},
    "budget": {"epochs": 10},
}


class MetricParams(Params):
    """What is trained, and which of its metrics counts."""

    scale: Literal["default"] = Field(
        "default", description="There is no published setting of this kind."
    )
    base: Base = Field(
        BASE,
        description="Fields of a run's spec, as for POST /v1/runs, without `seed` and `name`.",
        json_schema_extra={"maxProperties": 64},
    )
    metric: MetricName = Field("test_accuracy", description="Name of a metric of the runs.")
    at: Literal["last", "mean"] = Field(
        "last", description="`mean` is over all points of the metric: the whole of training."
    )

    @property
    def lower_is_better(self) -> bool:
        """Whether the metric is a loss."""
        return self.metric.endswith("loss")


def number_of(params: MetricParams, runs: Sequence[RunResult]) -> Of:
    """What each run comes to; a diverged one stands for the worst that there is.

    That is 0 of an accuracy, and of anything else the worst finite value that any run had, which
    is a bound.
    """
    if params.metric.endswith("accuracy"):
        return _number(params, 0.0, "")
    worst = _worst(params, runs)
    if worst is None:
        return lambda run: Outcome(None, f"{run.arm} has no finite {params.metric}")
    return _number(params, worst, "at least" if params.lower_is_better else "at most")


def numbers(of: Of, runs: Iterable[RunResult]) -> list[float]:
    """What some runs come to, those left out that say nothing."""
    found = (of(run).value for run in runs)
    return [value for value in found if value is not None]


def diverged_caveats(runs: Sequence[RunResult], params: MetricParams) -> tuple[str, ...]:
    """That diverged runs stand for the worst, where there are any."""
    found = [f"{run.arm}, seed {run.seed}" for run in runs if run.has_diverged]
    if not found:
        return ()
    worst = "0" if params.metric.endswith("accuracy") else "the worst value that any run had"
    return (f"Diverged, and counted as {worst}: {'; '.join(found)}.",)


def missing_caveats(runs: Sequence[RunResult], params: MetricParams) -> tuple[str, ...]:
    """That the metric is none of the runs', or nowhere finite, where it is not."""
    if not runs:
        return ()
    if any(params.metric in run.series for run in runs):
        known = any(isfinite(value) for value in _values(params, runs))
        return () if known else (f"No run has a finite {params.metric}.",)
    there = ", ".join(sorted({name for run in runs for name in run.series}))
    return (f"No run has a metric {params.metric}; they have {there}.",)


def _number(params: MetricParams, worst: float, bound: Bound) -> Of:
    if params.at == "last":
        return last(params.metric, worst, bound)

    def of(run: RunResult) -> Outcome:
        # A run that diverged lacks points up to the end of its budget, which lies beyond its step.
        end = run.step + run.has_diverged
        return mean_between(params.metric, 0, end, worst, bound)(run)

    return of


def _worst(params: MetricParams, runs: Sequence[RunResult]) -> float | None:
    """The worst finite value of the runs that count; None: there is none."""
    counted = [run for run in runs if run.counts]
    finite = [value for value in _values(params, counted) if isfinite(value)]
    return (max if params.lower_is_better else min)(finite, default=None)


def _values(params: MetricParams, runs: Iterable[RunResult]) -> list[float]:
    found = (run.series[params.metric].values for run in runs if params.metric in run.series)
    return [value for values in found for value in values]
