"""A network with batch norm, trained on clean rows: everything else happens after its training."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, Strict

from model.lab.errors import CLASSES
from model.lab.experiment import DatasetName, Params, PlannedRun, spec_of
from model.lab.test_time_adaptation.corruptions import Corruption
from model.spec.parts import Count, Units, at_most

ARM = "clean"


class AdaptationParams(Params):
    """What is trained, and which shift of its inputs is looked at closely."""

    scale: Literal["default"] = Field(
        "default", description="The published setting, ImageNet-C, is beyond this service."
    )
    dataset: DatasetName = Field("digits", description="Rows with classes.")
    hidden: Annotated[tuple[Units, ...], Strict(False), at_most(16)] = Field(
        (100, 100), min_length=1, max_length=16, description="Units of each hidden layer."
    )
    lr: float = Field(0.1, gt=0, le=1e3, description="Learning rate.")
    batch_size: Annotated[int, Field(ge=2, le=100_000)] = Field(32, description="Rows a step.")
    steps: Count = Field(1_500, description="Optimizer steps.")
    corruption: Corruption = Field(
        "contrast", description="What the map is about; the verdict is about all of them."
    )
    severity: Annotated[int, Field(ge=1, le=5)] = Field(
        4, description="Of it: 1 is slight, 5 is heavy. Contrast 4 is 0.3 x + 0.35."
    )


def plan(params: AdaptationParams, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """One run a seed."""
    return tuple(
        PlannedRun(
            ARM,
            seed,
            spec_of(
                dataset=params.dataset,
                split={"calibration": 0.0},
                scaling="minmax",
                network={"kind": "mlp", "hidden": list(params.hidden), "activation": "relu"},
                norm="batch",
                loss=CLASSES,
                optimizer={"kind": "sgd", "lr": params.lr},
                batch_size=params.batch_size,
                tail="merge",
                budget={"steps": params.steps},
                evaluate_every={"steps": max(1, params.steps // 20)},
                seed=seed,
            ),
        )
        for seed in seeds
    )
