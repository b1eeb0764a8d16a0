"""What the experiment on l_p norms trains: five norms in a deep linear network and in an MLP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from model.errors import SpecRefused
from model.lab import experiment, santurkar
from model.lab.experiment import DatasetName, PlannedRun, spec_of
from model.lab.results import RunResult
from model.spec.parts import Count

#: The norm of each arm, as a spec names it.
NORMS: dict[str, Any] = {
    "none": "none",
    "batch": "batch",
    "l1": {"kind": "lp", "p": 1},
    "l2": {"kind": "lp", "p": 2},
    "linf": {"kind": "lp", "p": "inf"},
}
LP = ("l1", "l2", "linf")
DATASETS = {"deep_linear": "gaussian_linear", "mlp": "digits"}
STEPS = {"deep_linear": 1_500, "mlp": 500}
TITLES = {"deep_linear": "deep linear network", "mlp": "MLP"}
PROBES = 20
INPUT_LAYER = {"deep_linear": 17, "mlp": 8}  # whose input's shift is told

Rate = Annotated[float, Field(gt=0, le=1e6)]
NetworkName = Literal["deep_linear", "mlp"]


class Params(experiment.Params):
    """Which networks are trained, on what, how fast and for how long."""

    scale: Literal["default", "paper"] = Field(
        "default", description="`paper`: deep_linear for 10,000 steps at both learning rates."
    )
    dataset: DatasetName | None = Field(
        None,
        description="What every network is trained on; null: gaussian_linear for deep_linear, "
        "digits for mlp, which needs classes.",
    )
    network: NetworkName | Literal["all"] = Field("all", description="Which network, or both.")
    lr: Rate = Field(
        santurkar.LINEAR_RATE, description="Learning rate of every arm of deep_linear."
    )
    second_lr: Rate | None = Field(
        1e-6,
        description="A second one, at which all arms are trained once more: a divisor several "
        "times larger, as linf has, wants a rate of its own. null: none.",
    )
    mlp_lr: Rate = Field(santurkar.RATE, description="Learning rate of every arm of mlp.")
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] | None = Field(
        None, description="Rows a step; null: all 1,000 for deep_linear, 128 for mlp."
    )
    steps: Count | None = Field(
        None, description="Optimizer steps; null: 1,500 for deep_linear, 500 for mlp."
    )

    @property
    def networks(self) -> tuple[NetworkName, ...]:
        """The networks that are trained, the one that is judged first in front."""
        return ("deep_linear", "mlp") if self.network == "all" else (self.network,)

    @property
    def settings(self) -> tuple["Setting", ...]:
        """Every network at every rate, in the order in which they are told of."""
        linear = [one for one in (self.lr, self.second_lr) if one is not None]
        rates = {"deep_linear": linear, "mlp": [self.mlp_lr]}
        return tuple(Setting(one, rate) for one in self.networks for rate in rates[one])


@dataclass(frozen=True)
class Setting:
    """One network at one learning rate, in which five norms are compared."""

    network: NetworkName
    lr: float

    @property
    def title(self) -> str:
        """As a reader knows it."""
        return f"{TITLES[self.network]}, lr {self.lr:g}"

    @property
    def slug(self) -> str:
        """As a part of a figure's or a table's name."""
        rate = f"{self.lr:g}".replace(".", "-").replace("+", "")
        return f"{self.network.replace('_', '-')}-{rate}"

    def arm(self, norm: str) -> str:
        """The name of an arm."""
        return f"{self.network}, {norm}, lr {self.lr:g}"


def plan(params: Params, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Every norm in every setting, seed by seed.

    Raises:
        SpecRefused: the published setting of mlp, which has none, or two rates of one name.
    """
    if params.scale == "paper" and params.network == "mlp":
        raise SpecRefused("scale", "there is no published setting of mlp; take deep_linear or all")
    if len({setting.slug for setting in params.settings}) < len(params.settings):
        message = f"it is the same as lr, {params.lr:g}: rates are told apart by six digits"
        raise SpecRefused("second_lr", message)
    return tuple(
        PlannedRun(setting.arm(norm), seed, spec_of(**_fields(params, setting, norm, seed)))
        for seed in seeds
        for setting in params.settings
        for norm in NORMS
    )


def steps_of(params: Params, network: str) -> int:
    """Optimizer steps of a network."""
    is_published = params.scale == "paper" and network == "deep_linear"
    default = santurkar.PUBLISHED_STEPS[network] if is_published else STEPS[network]
    return params.steps or default


def norm_of(run: RunResult) -> str:
    """Which norm an arm has."""
    return run.arm.split(", ")[1]


def _fields(params: Params, setting: Setting, norm: str, seed: int) -> dict[str, Any]:
    network, steps = setting.network, steps_of(params, setting.network)
    dataset = params.dataset or DATASETS[network]
    make = {
        "deep_linear": santurkar.deep_linear(dataset),
        "mlp": santurkar.perceptron(dataset, "binary"),
    }
    fields = make[network]
    if params.batch_size is not None:
        fields["batch_size"] = params.batch_size
    return {
        **fields,
        "norm": NORMS[norm],
        "optimizer": {"kind": "sgd", "lr": setting.lr},
        "seed": seed,
        "budget": {"steps": steps},
        "evaluate_every": {"steps": max(1, steps // 20)},
        "measures": [{"kind": "input_shift", "every": max(1, steps // PROBES)}],
    }
