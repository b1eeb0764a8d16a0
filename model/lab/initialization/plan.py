"""What the experiment on initialization trains: three starts of one direction, with and without
norm, at several learning rates."""

from collections.abc import Sequence
from math import sqrt
from typing import Annotated, Any, Literal

from pydantic import Field

from model.errors import SpecRefused
from model.lab import experiment
from model.lab.experiment import DatasetName, PlannedRun, spec_of
from model.lab.results import Results, RunResult
from model.lab.several import each_once, several
from model.spec import Activation, Mlp, Network, ResidualMlp
from model.spec.parts import Count

NORMS = ("none", "batch")
LETTERS = "ABC"  # of the starts
CHECKPOINTS = 24  # of a run whose path is drawn

Positive = Annotated[float, Field(gt=0, le=1e6)]
#: Every decade from the least to the largest is on an axis, and is looked at 12 times.
Rate = Annotated[float, Field(ge=1e-12, le=1e6)]


def text_of(number: float) -> str:
    """A gain or a rate in the name of an arm."""
    return f"{number:g}"


class Params(experiment.Params):
    """Which network starts from which three points, and how it is trained from there."""

    scale: Literal["default"] = Field("default", description="There is no published setting.")
    dataset: DatasetName = Field("digits", description="Any dataset.")
    network: Network = Field(
        Mlp(kind="mlp", hidden=(64,) * 6, activation="relu"), description="What is trained."
    )
    activation: Activation | None = Field(
        None, description="In place of the one that an mlp or residual_mlp names: tanh, a control."
    )
    gains: Annotated[tuple[Positive, Positive, Positive], *several(3, each_once)] = Field(
        (0.5, 1.0, 3.0),
        description="Of the starts A, B and C: the same draw from N(0, 1 / fan_in), times this.",
    )
    rates: Annotated[tuple[Rate, ...], *several(12, each_once)] = Field(
        (0.03, 0.1, 0.3, 1.0, 3.0),
        min_length=1,
        max_length=12,
        description="Learning rates of plain SGD, each from each start.",
    )
    path_rate: Rate = Field(
        0.3, description="The learning rate, one of `rates`, whose paths are drawn."
    )
    turn_rate: Positive = Field(
        0.1, description="Learning rate of the one step after which the gradient's turn is taken."
    )
    target_loss: Positive = Field(
        0.1, description="A run arrives when its training loss is first at most this."
    )
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = Field(128, description="Rows a step.")
    steps: Count = Field(600, description="Optimizer steps of every run.")


def plan(params: Params, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Every start at every rate, without norm and with it, seed by seed.

    The runs of the first seed at `path_rate` keep checkpoints, for their paths are drawn.

    Raises:
        SpecRefused: a `path_rate` that is no rate, or an activation for a network that has no such
            field.
    """
    if params.path_rate not in params.rates:
        raise SpecRefused("path_rate", f"{params.path_rate:g} must be one of the rates")
    return tuple(
        PlannedRun(
            arm_of(norm, gain, rate),
            seed,
            spec_of(**_fields(params, norm, gain, rate, seed), **_kept(params, rate, seed, seeds)),
        )
        for seed in seeds
        for gain in params.gains
        for rate in params.rates
        for norm in NORMS
    )


def arm_of(norm: str, gain: float, rate: float) -> str:
    """The name of an arm."""
    return f"{norm}, gain {text_of(gain)}, rate {text_of(rate)}"


def start_name(params: Params, gain: float) -> str:
    """A start as a reader knows it: "A: gain 0.5"."""
    return f"{LETTERS[params.gains.index(gain)]}: gain {text_of(gain)}"


def any_run(
    params: Params, results: Results, norm: str, gain: float, seed: int
) -> RunResult | None:
    """A run that starts there: those of all rates start alike."""
    found = (results.run(arm_of(norm, gain, rate), seed) for rate in params.rates)
    return next((run for run in found if run is not None), None)


def _fields(params: Params, norm: str, gain: float, rate: float, seed: int) -> dict[str, Any]:
    # He's normal draw is from N(0, 2 / fan_in).
    return {
        "dataset": params.dataset,
        "network": _network(params).model_dump(mode="json"),
        "norm": norm,
        "init": {"kind": "kaiming_normal", "gain": gain / sqrt(2)},
        "optimizer": {"kind": "sgd", "lr": rate},
        "batch_size": params.batch_size,
        "budget": {"steps": params.steps},
        "evaluate_every": {"steps": params.steps},
        "seed": seed,
    }


def _kept(params: Params, rate: float, seed: int, seeds: Sequence[int]) -> dict[str, Any]:
    if rate != params.path_rate or seed != min(seeds):
        return {}
    return {"checkpoint_every": {"steps": max(1, params.steps // CHECKPOINTS)}}


def _network(params: Params) -> Network:
    if params.activation is None:
        return params.network
    if not isinstance(params.network, Mlp | ResidualMlp):
        message = f"a network of kind {params.network.kind} has no activation to replace"
        raise SpecRefused("activation", message)
    return params.network.model_copy(update={"activation": params.activation})
