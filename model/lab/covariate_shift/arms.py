"""What the experiment on internal covariate shift trains: three networks, without and with norm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from model.errors import SpecRefused
from model.lab import experiment, santurkar
from model.lab.experiment import DatasetName, PlannedRun, spec_of
from model.spec.networks import Axis
from model.spec.parts import Count, at_most

NORMS = ("none", "batch")
DATASETS = {"mlp": "digits", "vgg": "digits", "deep_linear": "gaussian_linear"}
CLASSIFIERS = ("mlp", "vgg")
#: Layers with weights whose gradients are compared, from 1. The paper shows 5 and 10 of its VGG,
#: 9 and 17 of the deep linear network; the last of each is the deepest behind a norm.
LAYERS = {"mlp": (3, 6, 8), "vgg": (3, 5, 8), "deep_linear": (9, 17, 24)}
PUBLISHED_LAYERS = {"mlp": (3, 6, 8), "vgg": (5, 10, 13), "deep_linear": (9, 17, 24)}
STEPS = {"mlp": 500, "vgg": 300, "deep_linear": 2_000}
PROBES, PUBLISHED_PROBES = 40, 200
TITLES = {"mlp": "MLP", "vgg": "VGG", "deep_linear": "deep linear network"}

NAMED = {"network.image_shape": "image_shape"}  # a param by the field that it fills

NetworkName = Literal["mlp", "vgg", "deep_linear"]


class Params(experiment.Params):
    """Which networks are trained, on what and for how long."""

    scale: Literal["default", "paper"] = Field(
        "default",
        description="`paper`: deep_linear for 10,000 steps, and, if it is the only network, vgg "
        "with 13 convolutions at full width for 15,000. There is no published mlp.",
    )
    dataset: DatasetName | None = Field(
        None,
        description="What every network is trained on; null: digits, and gaussian_linear for "
        "deep_linear. mlp and vgg need classes, vgg images.",
    )
    network: NetworkName | Literal["all"] = Field("all", description="Which network, or all three.")
    image_shape: Annotated[tuple[Axis, Axis, Axis], Strict(False), at_most(3)] | None = Field(
        None,
        description="How vgg lays out flat rows as (channels, height, width); null: digits as "
        "(1, 8, 8), all else as it is.",
    )
    lr: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        None, description="Learning rate of plain SGD; null: .1, and 1e-7 for deep_linear."
    )
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] | None = Field(
        None, description="Rows a step; null: 128, and all 1,000 for deep_linear."
    )
    steps: Count | None = Field(
        None, description="Optimizer steps; null: 500 for mlp, 300 for vgg, 2,000 for deep_linear."
    )

    @property
    def networks(self) -> tuple[NetworkName, ...]:
        """The networks that are trained, the one that is judged first in front."""
        return ("deep_linear", "mlp", "vgg") if self.network == "all" else (self.network,)

    def is_published(self, network: str) -> bool:
        """Whether a network is trained as it was published."""
        is_vgg = network == "vgg" and self.network == "vgg"
        return self.scale == "paper" and (network == "deep_linear" or is_vgg)


@dataclass(frozen=True)
class Recipe:
    """How one network is trained."""

    fields: dict[str, Any]  # of its spec
    steps: int
    layers: tuple[int, ...]  # whose gradients are compared, the deepest last
    every: int  # steps between two probes


def plan(params: Params, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Every network without and with batch norm, seed by seed.

    Raises:
        SpecRefused: the published setting of a network that has none, or of vgg without a dataset.
    """
    _refuse(params)
    return tuple(
        PlannedRun(
            arm_of(network, norm), seed, spec_of(**_fields(params, network, norm, seed)), NAMED
        )
        for seed in seeds
        for network in params.networks
        for norm in NORMS
    )


def arm_of(network: str, norm: str) -> str:
    """The name of an arm."""
    return f"{network}, {norm}"


def recipe(params: Params, network: str) -> Recipe:
    """How a network is trained."""
    is_published = params.is_published(network)
    steps = params.steps or (santurkar.PUBLISHED_STEPS[network] if is_published else STEPS[network])
    probes = PUBLISHED_PROBES if is_published else PROBES
    layers = PUBLISHED_LAYERS if is_published else LAYERS
    fields = _base(params, network)
    if params.lr is not None:
        fields["optimizer"] = {"kind": "sgd", "lr": params.lr}
    if params.batch_size is not None:
        fields["batch_size"] = params.batch_size
    return Recipe(fields, steps, layers[network], max(1, steps // probes))


def _refuse(params: Params) -> None:
    if params.scale != "paper":
        return
    if params.network == "mlp":
        message = "there is no published setting of mlp; take deep_linear, vgg or all"
        raise SpecRefused("scale", message)
    if params.network == "vgg" and params.dataset is None:
        message = "vgg was published on CIFAR-10: name a dataset of such images"
        raise SpecRefused("dataset", message)


def _base(params: Params, network: str) -> dict[str, Any]:
    dataset = params.dataset or DATASETS[network]
    if network == "deep_linear":
        return santurkar.deep_linear(dataset)
    if network == "mlp":
        return santurkar.perceptron(dataset, "standard")
    make = santurkar.published_vgg if params.is_published(network) else santurkar.small_vgg
    return make(dataset, params.image_shape)


def _fields(params: Params, network: str, norm: str, seed: int) -> dict[str, Any]:
    how = recipe(params, network)
    return {
        **how.fields,
        "norm": norm,
        "seed": seed,
        "budget": {"steps": how.steps},
        "evaluate_every": {"steps": max(1, how.steps // 20)},
        "measures": [
            {"kind": "covariate_shift", "layers": list(how.layers), "every": how.every},
            {"kind": "input_shift", "every": how.every},
        ],
    }
