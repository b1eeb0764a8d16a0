"""Large batches at a high rate that falls: one run for every momentum of the running averages."""

from collections.abc import Sequence
from math import ceil, log, log1p
from typing import Annotated, Literal

from pydantic import Field, Strict

from model.errors import SpecRefused
from model.lab.errors import CLASSES
from model.lab.experiment import DatasetName, Params, PlannedRun, spec_of
from model.lab.several import descending, several
from model.spec import RunSpec
from model.spec.parts import Count, Units, at_most

OLD_SHARE = 0.01  # of the first values 0 and 1 in the running ones, above which they still count
LEAST_MOMENTUM = 1e-9  # the first values keep their weight over the longest run that may be
DROP = 0.1  # factor on the rate
NAMED = {"budget": "high_steps", "evaluate_every": "checkpoint_every"}
MOST_CHECKPOINTS = 200  # of one run: the report looks at each twice


class EmaParams(Params):
    """What is trained, and how often one looks at it."""

    scale: Literal["default"] = Field(
        "default", description="The published setting, ImageNet, is beyond this service."
    )
    dataset: DatasetName = Field("digits", description="Rows with classes.")
    hidden: Annotated[tuple[Units, ...], Strict(False), at_most(16)] = Field(
        (100, 100, 100), min_length=1, max_length=16, description="Units of each hidden layer."
    )
    momenta: Annotated[
        tuple[Annotated[float, Field(ge=LEAST_MOMENTUM, lt=1)], ...],
        *several(4, descending),
    ] = Field(
        (0.1, 0.01),
        min_length=1,
        max_length=4,
        description="Shares of the newest batch in the running values. The verdict is about the "
        "first and largest.",
    )
    lr: float = Field(1.0, gt=0, le=1e3, description="Learning rate of the first phase.")
    weight_decay: float = Field(1e-3, ge=0, le=1, description="L2 penalty of the optimizer.")
    batch_size: Annotated[int, Field(ge=2, le=100_000)] = Field(512, description="Rows a step.")
    high_steps: Count = Field(200, description="Optimizer steps until the rate falls to a tenth.")
    low_steps: Count = Field(100, description="Optimizer steps after that; at most `high_steps`.")
    checkpoint_every: Count = Field(8, description="Optimizer steps between two checkpoints.")

    @property
    def steps(self) -> int:
        """Optimizer steps of every run."""
        return self.high_steps + self.low_steps

    @property
    def settled(self) -> int:
        """Steps until the first momentum has all but forgotten the first values, 0 and 1.

        At most half of the phase, so that there is something to judge by.
        """
        needed = ceil(log(OLD_SHARE) / log1p(-self.momenta[0]))
        return min(needed, self.high_steps // 2)


def plan(params: EmaParams, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """A run for every momentum, seed by seed: their weights are the same, step for step.

    Raises:
        SpecRefused: phases or checkpoints that leave nothing to look at, or too much.
    """
    _refuse(params)
    return tuple(
        PlannedRun(arm_name(momentum), seed, _spec(params, momentum, seed), NAMED)
        for seed in seeds
        for momentum in params.momenta
    )


def arm_name(momentum: float) -> str:
    """What the runs of one momentum are compared as."""
    return f"momentum {momentum:g}"


def _refuse(params: EmaParams) -> None:
    if params.low_steps > params.high_steps:
        message = (
            f"the rate falls every {params.high_steps} steps: {params.low_steps} after the first "
            "fall are more than that"
        )
        raise SpecRefused("low_steps", message)
    phase = params.high_steps - params.settled
    if params.checkpoint_every > phase:
        message = (
            f"one every {params.checkpoint_every} steps may leave none in the {phase} steps of the "
            "high rate that are judged"
        )
        raise SpecRefused("checkpoint_every", message)
    count = params.steps // params.checkpoint_every
    if count > MOST_CHECKPOINTS:
        message = f"that makes {count} checkpoints a run; at most {MOST_CHECKPOINTS} are looked at"
        raise SpecRefused("checkpoint_every", message)


def _spec(params: EmaParams, momentum: float, seed: int) -> RunSpec:
    sgd = {"kind": "sgd", "lr": params.lr, "momentum": 0.9, "weight_decay": params.weight_decay}
    return spec_of(
        dataset=params.dataset,
        split={"calibration": 0.0},
        network={"kind": "mlp", "hidden": list(params.hidden), "activation": "relu"},
        norm={"kind": "batch", "momentum": momentum},
        loss=CLASSES,
        optimizer=sgd,
        schedule={"kind": "step", "every_steps": params.high_steps, "gamma": DROP},
        batch_size=params.batch_size,
        tail="drop",
        budget={"steps": params.steps},
        evaluate_every={"steps": params.checkpoint_every},
        checkpoint_every={"steps": params.checkpoint_every},
        seed=seed,
    )
