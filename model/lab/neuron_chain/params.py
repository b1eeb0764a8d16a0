"""What may be told of the chain. Nothing is trained: its plan has no run."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field

from model.lab import experiment
from model.lab.experiment import PlannedRun
from model.lab.neuron_chain.chain import Point, Three, Update

Number = Annotated[float, Field(ge=-1_000, le=1_000)]


class Params(experiment.Params):
    """The weights and the two points of the chain, and how it is updated."""

    scale: Literal["default"] = Field("default", description="There is no published setting.")
    w_a: Number = Field(0.8, description="First weight of neuron a.")
    w_b: Number = Field(1.2, description="First weight of neuron b.")
    w_c: Number = Field(-0.5, description="First weight of neuron c.")
    x_1: Number = Field(1.0, description="The row of step 1.")
    y_1: Number = Field(1.0, description="Its target.")
    x_2: Number = Field(2.0, description="The row of step 2, and of every second one after it.")
    y_2: Number = Field(1.0, description="Its target.")
    rate: Annotated[float, Field(gt=0, le=100)] = Field(0.1, description="Learning rate.")
    update: Update = Field(
        "simultaneous",
        description="Which update the effect is of: all weights at once, as backpropagation has "
        "it, or one after the other with forward and backward again in between.",
    )
    steps: Annotated[int, Field(ge=2, le=500)] = Field(
        20, description="Steps of the chain that are drawn, the two points in turn."
    )
    chains: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        10_000, description="Random chains that each seed draws beside the one that is given."
    )

    @property
    def weights(self) -> Three:
        """The given chain."""
        return _number(self.w_a), _number(self.w_b), _number(self.w_c)

    @property
    def points(self) -> tuple[Point, Point]:
        """Of step 1 and of step 2."""
        first = Point(_number(self.x_1), _number(self.y_1))
        return first, Point(_number(self.x_2), _number(self.y_2))


def plan(params: Params, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """No run: three weights need no queue."""
    return ()


def _number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)
