"""What the experiment on saturation trains: the post's network, and one of a smaller fan-in."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from model.lab import experiment
from model.lab.experiment import DatasetName, PlannedRun, spec_of
from model.lab.post_norm import POST_NORM
from model.spec.parts import Count, Units

NORMS = ("none", "batch")

#: Params by the fields that they fill: the second network's first layers flatten rows and leave
#: columns out.
NAMED = {"network.layers.1": "fan_in", "network": "units", "optimizer.lr": "rate"}
PROBES = 40  # over the whole of training


class Params(experiment.Params):
    """Which rows enter how many tanh units, and how long they are trained."""

    scale: Literal["default"] = Field("default", description="The default is the post's setting.")
    dataset: DatasetName = Field(
        "two_class_500", description="Any dataset with at least `fan_in` features."
    )
    fan_in: Units | None = Field(
        30,
        description="A second network looks at the first so many features alone; null: there is "
        "no second one. Of images they are pixels of the upper edge, where those of MNIST are "
        "blank.",
    )
    units: Units = Field(100, description="Tanh units of the hidden layer.")
    batch_size: Annotated[int, Field(ge=3, le=1_000_000)] = Field(
        32,
        description="Rows a step, drawn with replacement: of 2, soon both are one row, which has "
        "no deviation.",
    )
    rate: Annotated[float, Field(gt=0, le=1e6)] = Field(
        0.1, description="Learning rate of plain SGD; the post names none."
    )
    steps: Count = Field(2_000, description="Optimizer steps; the post names none.")

    @property
    def fan_ins(self) -> tuple[int | None, ...]:
        """Of each network that is trained; None: all features."""
        return (None,) if self.fan_in is None else (None, self.fan_in)


def arm_of(norm: str, fan_in: int | None) -> str:
    """The name of an arm."""
    return norm if fan_in is None else f"{norm}, fan-in {fan_in}"


def plan(params: Params, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Both networks without norm and with the post's, seed by seed."""
    return tuple(
        PlannedRun(
            arm_of(norm, fan_in), seed, spec_of(**_fields(params, norm, fan_in), seed=seed), NAMED
        )
        for seed in seeds
        for fan_in in params.fan_ins
        for norm in NORMS
    )


def _fields(params: Params, norm: str, fan_in: int | None) -> dict[str, Any]:
    return {
        "dataset": params.dataset,
        # The post's rows are N(0, 1) as they are.
        "scaling": "none" if params.dataset == "two_class_500" else "standard",
        "network": _network(params, fan_in),
        "norm": POST_NORM if norm == "batch" else "none",
        "init": {"kind": "normal", "bias": "normal"},
        "optimizer": {"kind": "sgd", "lr": params.rate},
        "batch_size": params.batch_size,
        "sampling": "with_replacement",
        "budget": {"steps": params.steps},
        "evaluate_every": {"steps": max(1, params.steps // PROBES)},
        "measures": [{"kind": "saturation", "every": max(1, params.steps // PROBES)}],
    }


def _network(params: Params, fan_in: int | None) -> dict[str, Any]:
    """One hidden layer without bias, as the post's: a norm would take a bias away."""
    if fan_in is None:
        return {"kind": "mlp", "hidden": [params.units], "activation": "tanh", "bias": False}
    layers = (
        {"kind": "flatten"},
        {"kind": "columns", "first": fan_in},
        {"kind": "linear", "out_features": params.units, "bias": False},
        {"kind": "norm"},
        {"kind": "activation", "activation": "tanh"},
        {"kind": "linear"},
    )
    return {"kind": "layers", "layers": layers}
