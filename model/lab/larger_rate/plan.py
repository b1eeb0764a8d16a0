"""Two networks, each with and without batch norm: a very deep one that takes few steps, to see
how long they may be, and one that is trained at a small and at a large rate.

Bjorck et al. 2018: https://arxiv.org/abs/1806.02375
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from model.errors import SpecRefused
from model.lab.errors import CLASSES
from model.lab.experiment import DatasetName, Params, PlannedRun, spec_of
from model.lab.published import refuse_builtin
from model.lab.results import Results, RunResult
from model.lab.several import ascending, descending, several
from model.spec import Mlp, Network, RelativeLoss, ResidualMlp
from model.spec.parts import Count

Norm = Literal["none", "batch"]
NORMS: tuple[Norm, ...] = ("none", "batch")
RESNET: dict[str, Any] = {"kind": "resnet", "depth": 110}
PUBLISHED: dict[str, Any] = {
    "network": RESNET,
    "trained_network": RESNET,
    "small_rate": 1e-4,
    "rates_without_norm": (1e-4,),
    "steps": 64_350,  # 165 epochs of 50,000 rows in batches of 128
}

Rate = Annotated[float, Field(gt=0, le=1e6)]


class LargerRateParams(Params):
    """Which networks, at which rates; `scale: paper` fills in the published ones."""

    dataset: DatasetName = Field(
        "digits", description="Classes. `scale: paper` needs an uploaded CIFAR-10."
    )
    network: Network = Field(
        ResidualMlp(kind="residual_mlp", blocks=20, width=64),
        description="The deep network whose steps are looked at.",
    )
    trained_network: Network = Field(
        Mlp(kind="mlp", hidden=(100,) * 8, activation="relu"),
        description="The network that is trained at both rates.",
    )
    large_rate: Rate = Field(0.1, description="Learning rate that batch norm allows.")
    small_rate: Rate = Field(0.001, description="Learning rate at which both arms train.")
    rates_without_norm: Annotated[tuple[Rate, ...], *several(8, descending)] = Field(
        (1e-4, 1e-7),
        min_length=1,
        max_length=8,
        description="Rates at which the deep network without norm is led from mini-batch to "
        "mini-batch, descending. The largest one counts at which it does not diverge on the way.",
    )
    batches: Annotated[
        tuple[Annotated[int, Field(ge=1, le=10_000)], ...], *several(8, ascending)
    ] = Field(
        (1, 4, 7),
        min_length=1,
        max_length=8,
        description="Mini-batches, counted from 1, ascending, at which steps of every length are "
        "tried.",
    )
    batch_size: Annotated[int, Field(ge=2, le=1_000_000)] = Field(128, description="Rows a step.")
    steps: Count = Field(1_000, description="Optimizer steps of the runs at both rates.")

    @model_validator(mode="before")
    @classmethod
    def _as_published(cls, given: Any) -> Any:
        """What is left out of the published setting is as published."""
        if isinstance(given, Mapping) and given.get("scale") == "paper":
            return {**PUBLISHED, **given}
        return given


def plan(params: LargerRateParams, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """The short runs of the deep network and the long ones of the other, seed by seed.

    Raises:
        SpecRefused: a small rate that is not below the large one, or `scale: paper` of a built-in
            dataset.
    """
    small, large = params.small_rate, params.large_rate
    if small > large or f"{small:g}" == f"{large:g}":
        message = f"{small:g} must be below large_rate {large:g}, in the first six digits"
        raise SpecRefused("small_rate", message)
    if params.scale == "paper":
        refuse_builtin(params.dataset, "CIFAR-10")
    parts: tuple[tuple[dict[str, dict[str, Any]], dict[str, str]], ...] = (
        (_deep(params), {}),
        (_trained(params), {"network": "trained_network"}),
    )
    return tuple(
        PlannedRun(arm, seed, spec_of(**_common(params), **fields, seed=seed), named)
        for seed in seeds
        for specs, named in parts
        for arm, fields in specs.items()
    )


def deep_arm(norm: Norm, rate: float) -> str:
    """The name of an arm of the deep network."""
    return f"deep, {norm}, rate {rate:g}"


def trained_arm(norm: Norm, rate: float) -> str:
    """The name of an arm of the network that is trained."""
    return f"{norm}, rate {rate:g}"


def deep_rates(params: LargerRateParams, norm: Norm) -> tuple[float, ...]:
    """Rates at which the deep network takes its few steps, the largest first."""
    return (params.large_rate,) if norm == "batch" else params.rates_without_norm


def any_deep_run(
    params: LargerRateParams, results: Results, norm: Norm, seed: int
) -> RunResult | None:
    """A run of the deep network, which starts alike at every rate."""
    found = (results.run(deep_arm(norm, rate), seed) for rate in deep_rates(params, norm))
    return next((run for run in found if run is not None), None)


def _deep(params: LargerRateParams) -> dict[str, dict[str, Any]]:
    looked_at = RelativeLoss(kind="relative_loss", at=params.batches).model_dump(mode="json")
    return {
        deep_arm(norm, rate): {
            **_network(params.network, norm, rate),
            "budget": {"steps": max(params.batches)},
            "evaluate_every": {"steps": max(params.batches)},
            "measures": [looked_at],
        }
        for norm in NORMS
        for rate in deep_rates(params, norm)
    }


def _trained(params: LargerRateParams) -> dict[str, dict[str, Any]]:
    # Published: a tenth of the rate where the loss is flat, about half way.
    drop = {"schedule": {"kind": "step", "every_steps": max(1, params.steps // 2), "gamma": 0.1}}
    return {
        trained_arm(norm, rate): {
            **_network(params.trained_network, norm, rate),
            **(drop if params.scale == "paper" else {}),
            "budget": {"steps": params.steps},
            "evaluate_every": {"steps": max(1, params.steps // 50)},
        }
        for rate in (params.small_rate, params.large_rate)
        for norm in NORMS
    }


def _network(network: Network, norm: Norm, rate: float) -> dict[str, Any]:
    return {
        "network": network.model_dump(mode="json"),
        "norm": norm,
        "optimizer": {"kind": "sgd", "lr": rate, "momentum": 0.9, "weight_decay": 1e-4},
    }


def _common(params: LargerRateParams) -> dict[str, Any]:
    return {
        "dataset": params.dataset,
        "loss": CLASSES,
        "init": {"kind": "kaiming_normal"},
        "batch_size": params.batch_size,
    }
