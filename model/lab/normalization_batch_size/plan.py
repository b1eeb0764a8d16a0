"""One batch size for the gradient, several for the norm: ghost groups from large to small."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from model.errors import SpecRefused
from model.lab.errors import CLASSES
from model.lab.experiment import DatasetName, Params, PlannedRun, spec_of
from model.lab.several import descending, several
from model.spec import Mlp, Network, RunSpec
from model.spec.parts import Count

GroupSize = Annotated[int, Field(ge=2, le=100_000)]


class GroupParams(Params):
    """What is trained, and how many of its rows are normalized together."""

    scale: Literal["default"] = Field(
        "default", description="The published setting, ImageNet, is beyond this service."
    )
    dataset: DatasetName = Field("digits", description="Rows with classes.")
    network: Network = Field(
        Mlp(kind="mlp", hidden=(100, 100, 100), activation="relu"),
        description="Of images, a convolution gives each channel many values a row, and small "
        "groups harm it less.",
    )
    lr: float = Field(0.1, gt=0, le=1e3, description="Learning rate; it falls as half a cosine.")
    batch_size: Annotated[int, Field(ge=2, le=100_000)] = Field(64, description="Rows a step.")
    groups: Annotated[tuple[GroupSize, ...], *several(12, descending)] = Field(
        (64, 32, 16, 8, 4, 2),
        min_length=2,
        max_length=12,
        description="Rows that are normalized together, the largest first; at most "
        "`batch_size`. The verdict is about the last.",
    )
    reference: GroupSize = Field(32, description="The one of `groups` that it is held against.")
    steps: Count = Field(500, description="Optimizer steps.")


def plan(params: GroupParams, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """A run for every group size, seed by seed.

    Raises:
        SpecRefused: a group larger than the batch, or a reference that is none of the others.
    """
    if params.groups[0] > params.batch_size:
        message = (
            f"a group of {params.groups[0]} rows is larger than the batch: {params.batch_size}"
        )
        raise SpecRefused("groups.0", message)
    if params.reference not in params.groups[:-1]:
        known = ", ".join(map(str, params.groups[:-1]))
        message = f"{params.reference} must be one of the groups before the last: {known}"
        raise SpecRefused("reference", message)
    return tuple(
        PlannedRun(arm_name(size), seed, _spec(params, size, seed), {"norm.group_size": "groups"})
        for seed in seeds
        for size in params.groups
    )


def arm_name(size: int) -> str:
    """What the runs of one group size are compared as."""
    return f"groups of {size}"


def _spec(params: GroupParams, size: int, seed: int) -> RunSpec:
    return spec_of(
        dataset=params.dataset,
        split={"calibration": 0.0},
        network=params.network.model_dump(mode="json"),
        norm={"kind": "ghost_batch", "group_size": size},
        loss=CLASSES,
        optimizer={"kind": "sgd", "lr": params.lr},
        schedule={"kind": "cosine"},
        batch_size=params.batch_size,
        tail="drop",
        budget={"steps": params.steps},
        evaluate_every={"steps": max(1, params.steps // 20)},
        seed=seed,
    )
