"""One network without norm, with batch norm, with noisy batch norm and with the noise alone."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from model.errors import SpecRefused
from model.lab.errors import CLASSES
from model.lab.experiment import DatasetName, Params, PlannedRun, spec_of
from model.lab.published import refuse_builtin
from model.lab.several import each_once, several
from model.spec import RunSpec
from model.spec.parts import Count, Units, at_most

Arm = Literal["none", "batch", "noisy_batch", "noise"]
ARMS: tuple[Arm, ...] = ("none", "batch", "noisy_batch", "noise")
MOST_RATES = 4
HIDDEN = (100,) * 8
PROBES = 50  # of the moments, over a run
CHECKPOINTS = 4  # over a run: whose activations are drawn

_RATE = Annotated[float, Field(gt=0, le=1e6)]
_SIZE = Annotated[float, Field(ge=0, le=1_000)]


class NoisyParams(Params):
    """What is trained, how large the noise is, and when the arms are compared."""

    dataset: DatasetName = Field(
        "digits", description="Classes. `scale: paper` needs an uploaded CIFAR-10."
    )
    lr: Annotated[tuple[_RATE, ...], *several(MOST_RATES, each_once)] = Field(
        (0.5, 0.1),
        min_length=1,
        max_length=MOST_RATES,
        description="Learning rates of plain gradient descent. The verdict is about the first one.",
    )
    hidden: Annotated[tuple[Units, ...], Strict(False), at_most(64)] | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Units of each hidden layer; null: eight of 100. `scale: paper` is VGG-16.",
    )
    steps: Count | None = Field(
        None, description="Optimizer steps; null: 2,000, and 15,000 with `scale: paper`."
    )
    window: Annotated[tuple[Count, Count], Strict(False), at_most(2)] | None = Field(
        None,
        description="First and last optimizer step over which test accuracy is averaged; null: 50 "
        "and 300, and 500 and 3,000 with `scale: paper`.",
    )
    evaluate_every: Count | None = Field(
        None,
        description="Optimizer steps between two evaluations; null: 10, and 250 with "
        "`scale: paper`.",
    )
    n_mu: _SIZE = Field(0.5, description="The mean of a unit's noise is at most this, in SDs.")
    n_sigma: Annotated[float, Field(ge=1, le=1_000)] = Field(
        1.25, description="A unit's scale is at most this."
    )
    r_mu: _SIZE = Field(0.1, description="How far single values are from their unit's mean.")
    r_sigma: _SIZE = Field(0.1, description="Deviation of single values' scales.")

    @property
    def num_steps(self) -> int:
        """Optimizer steps of every run."""
        return self.steps or (15_000 if self.scale == "paper" else 2_000)

    @property
    def early(self) -> tuple[int, int]:
        """First and last step over which the arms are compared."""
        return self.window or ((500, 3_000) if self.scale == "paper" else (50, 300))

    @property
    def resolution(self) -> int:
        """Optimizer steps between two evaluations."""
        return self.evaluate_every or (250 if self.scale == "paper" else 10)


def plan(params: NoisyParams, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Every arm at every rate, seed by seed.

    Raises:
        SpecRefused: no evaluation falls into the window, or `scale: paper` of a built-in dataset
            or with layers of one's own.
    """
    _refuse(params)
    return tuple(
        PlannedRun(arm_name(arm, lr), seed, _spec(params, arm, lr, seed), _named(params))
        for seed in seeds
        for lr in params.lr
        for arm in ARMS
    )


def arm_name(arm: Arm, lr: float) -> str:
    """What the runs of one norm and one rate are compared as."""
    return f"{arm}, lr {lr:g}"


def _refuse(params: NoisyParams) -> None:
    first, last = params.early
    if (
        first > last
        or last > params.num_steps
        or last // params.resolution * params.resolution < first
    ):
        raise SpecRefused(
            "window",
            f"steps {first:,} to {last:,} must hold an evaluation: there is one every "
            f"{params.resolution:,} steps of {params.num_steps:,}",
        )
    if params.scale != "paper":
        return
    refuse_builtin(params.dataset, "CIFAR-10")
    if params.hidden is not None:
        raise SpecRefused("hidden", "the published network is VGG-16: leave this out")


def _spec(params: NoisyParams, arm: Arm, lr: float, seed: int) -> RunSpec:
    return spec_of(
        **_setting(params),
        dataset=params.dataset,
        split={"calibration": 0.0},
        norm=_norm(params, arm),
        loss=CLASSES,
        init={"kind": "xavier_normal"},
        optimizer={"kind": "sgd", "lr": lr},
        tail="drop",
        budget={"steps": params.num_steps},
        evaluate_every={"steps": params.resolution},
        checkpoint_every={"steps": max(1, params.num_steps // CHECKPOINTS)},
        measures=[{"kind": "moments", "every": max(1, params.num_steps // PROBES)}],
        seed=seed,
    )


def _setting(params: NoisyParams) -> dict[str, Any]:
    if params.scale == "paper":
        return {"network": {"kind": "vgg", "depth": 16}, "batch_size": 128}
    hidden = params.hidden or HIDDEN
    network = {"kind": "mlp", "hidden": hidden, "activation": "relu"}
    return {"network": network, "scaling": "binary", "batch_size": 60}


def _named(params: NoisyParams) -> dict[str, str]:
    """The published network is there for images alone, and its layers are nobody's choice."""
    return {"network": "dataset"} if params.scale == "paper" else {}


def _norm(params: NoisyParams, arm: Arm) -> dict[str, Any]:
    if arm not in ("noisy_batch", "noise"):
        return {"kind": arm}
    sizes = ("n_mu", "n_sigma", "r_mu", "r_sigma")
    return {"kind": arm} | {name: getattr(params, name) for name in sizes}
