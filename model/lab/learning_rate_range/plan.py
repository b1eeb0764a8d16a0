"""A deep network of ReLUs and one of sigmoids, with and without batch norm, at many rates."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from model.lab.errors import CLASSES
from model.lab.experiment import DatasetName, Params, PlannedRun, spec_of
from model.lab.results import Results, RunResult
from model.lab.several import ascending, several
from model.spec.parts import Count, Units, at_most

Norm = Literal["none", "batch"]
Act = Literal["relu", "sigmoid"]
NORMS: tuple[Norm, ...] = ("none", "batch")
ACTIVATIONS: tuple[Act, ...] = ("relu", "sigmoid")
EVALUATIONS = 100  # of a run: how finely steps are counted
MOST_MULTIPLIERS = 12

Rate = Annotated[float, Field(ge=1e-12, le=1e6)]  # two of them multiplied are a rate of a run


class RangeParams(Params):
    """Which network is trained, and at which learning rates."""

    scale: Literal["default"] = Field(
        "default",
        description="The published setting, a network of the Inception family on ImageNet, is "
        "not to be had here.",
    )
    dataset: DatasetName = Field("digits", description="Any classes.")
    hidden: Annotated[tuple[Units, ...], Strict(False), at_most(64)] = Field(
        (100,) * 8, min_length=1, max_length=64, description="Units of each hidden layer."
    )
    base_rate: Rate = Field(0.1, description="Learning rate that suits the network without norm.")
    multipliers: Annotated[
        tuple[Rate, ...],
        *several(MOST_MULTIPLIERS, ascending),
    ] = Field(
        (1.0, 2.0, 5.0, 10.0, 30.0, 100.0),
        min_length=2,
        max_length=MOST_MULTIPLIERS,
        description="Of the base rate, ascending; the paper has 1, 5 and 30.",
    )
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = Field(60, description="Rows a step.")
    steps: Count = Field(1_000, description="Optimizer steps of every run.")

    @property
    def every(self) -> int:
        """Optimizer steps between two evaluations."""
        return max(1, self.steps // EVALUATIONS)

    def rate(self, multiplier: float) -> float:
        """A learning rate."""
        return self.base_rate * multiplier


def plan(params: RangeParams, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Both networks with and without norm at every rate, seed by seed."""
    return tuple(
        PlannedRun(
            arm_of(activation, norm, multiplier),
            seed,
            spec_of(**_fields(params, activation, norm, multiplier), seed=seed),
        )
        for seed in seeds
        for activation in ACTIVATIONS
        for multiplier in params.multipliers
        for norm in NORMS
    )


def arm_of(activation: Act, norm: Norm, multiplier: float) -> str:
    """The name of an arm."""
    return f"{norm}, {activation}, x{multiplier!r}".removesuffix(".0")


def runs_of(
    params: RangeParams, results: Results, activation: Act, norm: Norm, seed: int
) -> dict[float, RunResult]:
    """The runs of one network and seed by their multiplier, those of rates that both arms have."""
    return {
        multiplier: runs[norm]
        for multiplier in params.multipliers
        if len(runs := dict(_both(results, activation, multiplier, seed))) == len(NORMS)
    }


def _both(
    results: Results, activation: Act, multiplier: float, seed: int
) -> Iterator[tuple[Norm, RunResult]]:
    for norm in NORMS:
        for run in results.of(arm_of(activation, norm, multiplier)):
            if run.seed == seed:
                yield norm, run


def _fields(params: RangeParams, activation: Act, norm: Norm, multiplier: float) -> dict[str, Any]:
    return {
        "dataset": params.dataset,
        "network": {"kind": "mlp", "hidden": params.hidden, "activation": activation},
        "norm": norm,
        "loss": CLASSES,
        "init": {"kind": "xavier_normal"},
        "optimizer": {"kind": "sgd", "lr": params.rate(multiplier)},
        "batch_size": params.batch_size,
        "budget": {"steps": params.steps},
        "evaluate_every": {"steps": params.every},
    }
