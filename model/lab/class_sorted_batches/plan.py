"""Norms on batches of one class or two, and their twins on batches in random company."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from model.lab.errors import CLASSES
from model.lab.experiment import DatasetName, Params, PlannedRun, spec_of
from model.spec import RunSpec
from model.spec.parts import Units, at_most

MOMENTUM = 0.01  # share of the newest batch in the running values, as the paper of renorm has it
WARM_UP, R_RAMP, D_RAMP = 0.1, 0.7, 0.4  # of all steps; the ramps begin after the warm-up

Norm = Literal["batch", "batch_renorm", "layer"]
Sampling = Literal["class_sorted", "permutation"]
COMPANY: dict[Sampling, str] = {"class_sorted": "sorted by class", "permutation": "shuffled"}
#: Every arm: the norms that look at the batch have a twin on shuffled batches.
ARMS: tuple[tuple[Norm, Sampling], ...] = (
    ("batch", "class_sorted"),
    ("batch_renorm", "class_sorted"),
    ("layer", "class_sorted"),
    ("batch", "permutation"),
    ("batch_renorm", "permutation"),
)


class SortedParams(Params):
    """What is trained and for how long."""

    scale: Literal["default"] = Field(
        "default", description="The published setting, ImageNet, is beyond this service."
    )
    dataset: DatasetName = Field("digits", description="Rows with classes.")
    hidden: Annotated[tuple[Units, ...], Strict(False), at_most(16)] = Field(
        (100, 100, 100), min_length=1, max_length=16, description="Units of each hidden layer."
    )
    lr: float = Field(0.1, gt=0, le=1e3, description="Learning rate of plain gradient descent.")
    batch_size: Annotated[int, Field(ge=2, le=100_000)] = Field(
        32, description="Rows a step: at most as many as a class has, or batches hold several."
    )
    steps: Annotated[int, Field(ge=10, le=1_000_000)] = Field(
        3_000,
        description="Optimizer steps. Renorm is plain batch norm in the first tenth; its bounds "
        "reach 3 for the scale at 8 tenths and 5 for the mean at half of them.",
    )


def plan(params: SortedParams, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Every arm of a seed, then those of the next."""
    return tuple(
        PlannedRun(arm_name(norm, sampling), seed, _spec(params, norm, sampling, seed))
        for seed in seeds
        for norm, sampling in ARMS
    )


def arm_name(norm: Norm, sampling: Sampling) -> str:
    """What the runs of one norm on one kind of batches are compared as."""
    return f"{norm.replace('_', ' ')}, {COMPANY[sampling]}"


def _spec(params: SortedParams, norm: Norm, sampling: Sampling, seed: int) -> RunSpec:
    return spec_of(
        dataset=params.dataset,
        split={"calibration": 0.0},
        network={"kind": "mlp", "hidden": list(params.hidden), "activation": "relu"},
        norm=_norm(norm, params.steps),
        loss=CLASSES,
        optimizer={"kind": "sgd", "lr": params.lr},
        batch_size=params.batch_size,
        sampling=sampling,
        tail="merge",
        budget={"steps": params.steps},
        evaluate_every={"steps": max(1, params.steps // 60)},
        seed=seed,
    )


def _norm(norm: Norm, steps: int) -> dict[str, Any]:
    if norm == "layer":
        return {"kind": "layer"}
    if norm == "batch":
        return {"kind": "batch", "momentum": MOMENTUM}
    return {
        "kind": "batch_renorm",
        "momentum": MOMENTUM,
        "r_max": 3.0,
        "d_max": 5.0,
        "warmup_batches": round(WARM_UP * steps),
        "r_ramp_batches": round(R_RAMP * steps),
        "d_ramp_batches": round(D_RAMP * steps),
    }
