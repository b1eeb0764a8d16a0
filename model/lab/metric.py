"""One metric of every run as the number that arms are compared by, in `pair` and in `sweep`."""

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Annotated, Any, Literal

from pydantic import Field

from model.lab.compare import Of, last, mean_between
from model.lab.experiment import Params
from model.lab.fields import Base
from model.lab.results import RunResult

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

    That is 0 of an accuracy, and of anything else the worst finite value that any run had.
    """
    worst = 0.0 if params.metric.endswith("accuracy") else _worst(params, runs)
    if params.at == "last":
        return last(params.metric, worst)
    return mean_between(params.metric, 0, max((run.step for run in runs), default=0), worst)


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
    """That the metric is none of the runs', where it is not."""
    if not runs or any(params.metric in run.series for run in runs):
        return ()
    there = ", ".join(sorted({name for run in runs for name in run.series}))
    return (f"No run has a metric {params.metric}; they have {there}.",)


def _worst(params: MetricParams, runs: Sequence[RunResult]) -> float:
    found = [run.series[params.metric].values for run in runs if params.metric in run.series]
    finite = [value for values in found for value in values if isfinite(value)]
    return (max if params.lower_is_better else min)(finite, default=0.0)
