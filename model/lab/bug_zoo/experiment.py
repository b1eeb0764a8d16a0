"""The bug zoo: classic failures of running statistics, each planted beside a sound twin."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, Strict

from model.lab.bug_zoo.report import DECLARED, report
from model.lab.experiment import DatasetName, Experiment, Params, PlannedRun, spec_of
from model.spec.parts import Units, at_most

AVERAGED = 5  # checkpoints of the sound run, whose weights are averaged

#: Of the short runs, a param by the field that it fills.
NAMED = {"budget": "lag_steps"}


class ZooParams(Params):
    """What the sound twin is."""

    scale: Literal["default"] = Field(
        "default", description="There is no published setting of this kind."
    )
    dataset: DatasetName = Field("digits", description="Rows with classes.")
    scaling: Literal["standard", "minmax", "none"] = Field(
        "none",
        description="Of the sound run. With `standard` inputs the first statistics, 0 and 1, are "
        "nearly right, and lost buffers cost little.",
    )
    hidden: Annotated[tuple[Units, ...], Strict(False), at_most(16)] = Field(
        (100, 100), min_length=1, max_length=16, description="Units of each hidden layer."
    )
    lr: float = Field(0.1, gt=0, le=1e3, description="Learning rate.")
    batch_size: Annotated[int, Field(ge=2, le=100_000)] = Field(32, description="Rows a step.")
    steps: Annotated[int, Field(ge=10, le=1_000_000)] = Field(
        500, description="Optimizer steps of the sound run."
    )
    lag_steps: Annotated[int, Field(ge=2, le=1_000_000)] = Field(
        100, description="Steps of the run whose statistics lag, with a momentum of 0.001."
    )


def plan(params: ZooParams, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Of every seed a sound run, one whose statistics lag, and that one's sound twin."""
    return tuple(run for seed in seeds for run in _runs(params, seed))


def _runs(params: ZooParams, seed: int) -> tuple[PlannedRun, ...]:
    fields = {
        "dataset": params.dataset,
        "network": {"kind": "mlp", "hidden": list(params.hidden)},
        "optimizer": {"kind": "sgd", "lr": params.lr},
        "batch_size": params.batch_size,
        "tail": "merge",
        "loss": {"kind": "cross_entropy"},
        "seed": seed,
    }
    short = {"scaling": "none", "budget": {"steps": params.lag_steps}}
    every = max(1, params.steps // AVERAGED)
    whole = {
        "scaling": params.scaling,
        "budget": {"steps": params.steps},
        "checkpoint_every": {"steps": every},
    }
    lagging = {"norm": {"kind": "batch", "momentum": 0.001}}
    return (
        PlannedRun("sound", seed, spec_of(**fields, norm="batch", **whole)),
        PlannedRun("lagging", seed, spec_of(**fields, **lagging, **short), NAMED),
        PlannedRun("not lagging", seed, spec_of(**fields, norm="batch", **short), NAMED),
    )


EXPERIMENT = Experiment(
    kind="bug_zoo",
    claim="Running statistics that are wrong cost accuracy in eval mode alone, and the remedy "
    "that the diagnosis names brings it back without touching a weight.",
    source="what users of batch norm report again and again; the formulas are Ioffe and Szegedy "
    "2015, https://arxiv.org/abs/1502.03167",
    params=ZooParams,
    declared=DECLARED,
    default_seconds=8,
    plan=plan,
    report=report,
)
