"""What the experiment on the loss landscape trains: one network without and with batch norm."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from model.errors import SpecRefused
from model.lab import experiment, santurkar
from model.lab.experiment import DatasetName, PlannedRun, spec_of
from model.spec import DeepLinear, Layer, Layers, Mlp, Network, NormHere, Residual
from model.spec.parts import Count

NORMS = ("none", "batch")
STEPS = 1_500
EARLY = 0.4  # the share of steps that is judged

# A step is the product of two of them, and is divided by.
Positive = Annotated[float, Field(ge=1e-9, le=1e6)]


class Params(experiment.Params):
    """What is trained, and which steps along the gradient are looked at."""

    scale: Literal["default", "paper"] = Field(
        "default",
        description="`paper`: by default a vgg with 13 convolutions and 15,000 steps; the "
        "published dataset is CIFAR-10.",
    )
    dataset: DatasetName = Field("digits", description="Any dataset.")
    network: Network | None = Field(
        None,
        description="Any network with a place for a norm; null: an mlp with eight hidden layers of "
        "100 ReLUs.",
    )
    scaling: Literal["standard", "minmax", "binary", "none"] | None = Field(
        None, description="Input scaling; null: binary, at paper scale standard."
    )
    lr: Positive = Field(santurkar.RATE, description="Learning rate of plain SGD.")
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = Field(
        santurkar.BATCH, description="Rows a step."
    )
    steps: Count | None = Field(
        None, description="Optimizer steps; null: 1,500, at paper scale 15,000."
    )
    probes: Annotated[int, Field(ge=5, le=2_000)] = Field(
        60, description="How often it is looked along the gradient, evenly spread over the steps."
    )
    low: Positive = Field(0.5, description="The shortest step looked at, in learning rates.")
    high: Positive = Field(4.0, description="The longest step looked at, in learning rates.")
    lengths: Annotated[int, Field(ge=2, le=64)] = Field(8, description="Step lengths looked at.")
    spacing: Literal["linear", "log"] = Field("linear", description="How they are spread.")
    grid: Annotated[int, Field(ge=5, le=51)] = Field(
        21, description="Points each way of the loss surfaces around the trained networks."
    )

    @model_validator(mode="after")
    def _low_is_below_high(self) -> "Params":
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self

    @property
    def budget(self) -> int:
        """Optimizer steps of every run."""
        published = santurkar.PUBLISHED_STEPS["vgg"]
        return self.steps or (published if self.scale == "paper" else STEPS)

    @property
    def early(self) -> tuple[int, int]:
        """The steps that are judged, first and last."""
        return 0, round(EARLY * self.budget)

    @property
    def late(self) -> tuple[int, int]:
        """All other steps."""
        return self.early[1] + 1, self.budget


def plan(params: Params, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Both arms of a seed, then those of the next.

    Raises:
        SpecRefused: a network that leaves no place for a norm: both arms would be one.
    """
    if params.network is not None and not has_norm(params.network):
        message = "it has no place for a norm, so that both arms would be the same network"
        raise SpecRefused("network", message)
    return tuple(
        PlannedRun(norm, seed, spec_of(**_fields(params), norm=norm, seed=seed))
        for seed in seeds
        for norm in NORMS
    )


def has_norm(network: Network) -> bool:
    """Whether a network has a norm anywhere when one is asked for."""
    match network:
        case Layers():
            return any(map(_has_norm_inside, network.layers))
        case Mlp():
            return bool(network.hidden)
        case DeepLinear():
            return network.layers > 1
        case _:
            return True


def _has_norm_inside(layer: Layer) -> bool:
    if isinstance(layer, Residual):
        return any(map(_has_norm_inside, layer.layers))
    return isinstance(layer, NormHere)


def _fields(params: Params) -> dict[str, Any]:
    steps = params.budget
    fields = (
        santurkar.published_vgg(params.dataset, None)
        if params.scale == "paper"
        else santurkar.perceptron(params.dataset, "binary")
    )
    if params.network is not None:
        fields["network"] = params.network.model_dump(mode="json")
    if params.scaling is not None:
        fields["scaling"] = params.scaling
    return {
        **fields,
        "optimizer": {"kind": "sgd", "lr": params.lr},
        "batch_size": params.batch_size,
        "budget": {"steps": steps},
        "evaluate_every": {"steps": max(1, steps // 20)},
        "measures": [
            {
                "kind": "landscape",
                "every": max(1, steps // params.probes),
                "low": params.low,
                "high": params.high,
                "steps": params.lengths,
                "spacing": params.spacing,
            }
        ],
    }
