"""What the experiment on placement trains: batch norm before the activation, behind it, or none."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from model.lab import experiment
from model.lab.experiment import DatasetName, PlannedRun, spec_of
from model.spec import Activation
from model.spec.parts import Count, Units

ARMS = ("before", "after", "none")
LOOKS = 10  # checkpoints of each run, at which it is looked at
PROBES = 40
NAMED = {"network": "units", "optimizer.lr": "rate"}  # params by the fields that they fill


class Params(experiment.Params):
    """Which perceptron, and how it is trained."""

    scale: Literal["default"] = Field("default", description="There is no published setting.")
    dataset: DatasetName = Field("digits", description="Any dataset.")
    activation: Activation = Field("relu", description="Behind every hidden layer.")
    layers: Annotated[int, Field(ge=1, le=32)] = Field(3, description="Hidden layers.")
    units: Units = Field(100, description="Units of each hidden layer.")
    rate: Annotated[float, Field(gt=0, le=1e6)] = Field(
        0.1, description="Learning rate of plain SGD."
    )
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = Field(64, description="Rows a step.")
    steps: Count = Field(1_000, description="Optimizer steps.")


def plan(params: Params, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Every arm, seed by seed."""
    return tuple(
        PlannedRun(arm, seed, spec_of(**_fields(params, arm), seed=seed), NAMED)
        for seed in seeds
        for arm in ARMS
    )


def _fields(params: Params, arm: str) -> dict[str, Any]:
    placement = {"before": "before_activation", "after": "after_activation"}.get(arm)
    return {
        "dataset": params.dataset,
        "network": {
            "kind": "mlp",
            "hidden": [params.units] * params.layers,
            "activation": params.activation,
        },
        "norm": {"kind": "batch", "placement": placement} if placement else "none",
        "init": {"kind": "kaiming_normal"},
        "optimizer": {"kind": "sgd", "lr": params.rate},
        "batch_size": params.batch_size,
        "budget": {"steps": params.steps},
        "evaluate_every": {"steps": max(1, params.steps // PROBES)},
        "checkpoint_every": {"steps": max(1, params.steps // LOOKS)},
        "measures": [{"kind": "input_shift", "every": max(1, params.steps // PROBES)}],
    }
