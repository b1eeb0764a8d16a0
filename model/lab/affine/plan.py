"""Small networks whose batch norm has a gain and a bias, has none, or is not there."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field

from model.lab.errors import CLASSES
from model.lab.experiment import DatasetName, Params, PlannedRun, spec_of
from model.lab.several import each_once, several
from model.spec import RunSpec
from model.spec.networks import Activation
from model.spec.parts import Count

Arm = Literal["none", "affine", "plain"]
ARMS: tuple[Arm, ...] = ("none", "affine", "plain")
Side = Literal["before_activation", "after_activation"]
SIDES: dict[Side, str] = {"before_activation": "before", "after_activation": "behind"}
MOST = 3  # depths and activations
BATCH_SIZE = 60


class AffineParams(Params):
    """Which networks are trained; the verdict is about the first depth, activation and side."""

    scale: Literal["default"] = Field(
        "default", description="There is no published setting of this kind."
    )
    dataset: DatasetName = Field("spirals", description="Rows with classes.")
    depths: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], *several(MOST, each_once)] = (
        Field((1, 3), min_length=1, max_length=MOST, description="Hidden layers.")
    )
    activations: Annotated[tuple[Activation, ...], *several(MOST, each_once)] = Field(
        ("relu", "tanh"), min_length=1, max_length=MOST, description="Of every hidden layer."
    )
    placements: Annotated[tuple[Side, ...], *several(2, each_once)] = Field(
        ("before_activation", "after_activation"),
        min_length=1,
        max_length=2,
        description="Side of the activation on which the norm stands.",
    )
    width: Annotated[int, Field(ge=1, le=4_096)] = Field(
        20, description="Units of every hidden layer: what few units can do is what is asked."
    )
    lr: Annotated[float, Field(gt=0, le=1e6)] = Field(
        0.1, description="Learning rate of plain gradient descent."
    )
    steps: Count = Field(3_000, description="Optimizer steps of every run.")


@dataclass(frozen=True)
class Cell:
    """One network that is trained with and without the gain and the bias."""

    depth: int
    activation: Activation
    placement: Side

    @property
    def network(self) -> str:
        """The network without its norm, in a few words."""
        return f"{self.depth} x {self.activation}"

    @property
    def name(self) -> str:
        """The network and where its norm stands."""
        return f"{self.network}, norm {SIDES[self.placement]}"

    def arm(self, arm: Arm) -> str:
        """What its runs are compared as; without norm there are no sides."""
        return f"{arm}, {self.network if arm == 'none' else self.name}"


def cells(params: AffineParams) -> list[Cell]:
    """Every network that is asked for; the first one is that of the verdict."""
    asked = product(params.placements, params.depths, params.activations)
    return [Cell(depth, activation, side) for side, depth, activation in asked]


def plan(params: AffineParams, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Every arm of every network, seed by seed; those without norm once for both sides."""
    wanted = {cell.arm(arm): (cell, arm) for cell in cells(params) for arm in ARMS}
    return tuple(
        PlannedRun(name, seed, _spec(params, cell, arm, seed), {"network": "width"})
        for seed in seeds
        for name, (cell, arm) in wanted.items()
    )


def _spec(params: AffineParams, cell: Cell, arm: Arm, seed: int) -> RunSpec:
    norm: dict[str, Any] = {"kind": "none"}
    if arm != "none":
        norm = {"kind": "batch", "affine": arm == "affine", "placement": cell.placement}
    hidden = (params.width,) * cell.depth
    return spec_of(
        dataset=params.dataset,
        split={"calibration": 0.0},
        network={"kind": "mlp", "hidden": hidden, "activation": cell.activation},
        norm=norm,
        loss=CLASSES,
        init={"kind": "kaiming_normal"},
        optimizer={"kind": "sgd", "lr": params.lr},
        batch_size=BATCH_SIZE,
        tail="drop",
        budget={"steps": params.steps},
        evaluate_every={"steps": params.steps},
        seed=seed,
    )
