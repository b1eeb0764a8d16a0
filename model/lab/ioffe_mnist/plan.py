"""The network of Ioffe and Szegedy's figure 1, with and without batch norm, run by run."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from model.lab.errors import CLASSES
from model.lab.experiment import DatasetName, Params, PlannedRun, spec_of
from model.lab.published import refuse_builtin
from model.lab.several import each_once, several
from model.spec import RunSpec
from model.spec.parts import Count, Part

MOST_SETTINGS = 4
HIDDEN = (100, 100, 100)
BATCH_SIZE = 60
STEPS, PAPER_STEPS = 5_000, 50_000
EVALUATE_EVERY, PAPER_EVALUATE_EVERY = 10, 50
PROBES = 100  # of the percentiles, over a run
ARMS: tuple["Arm", ...] = ("none", "batch")
Arm = Literal["none", "batch"]


class Setting(Part):
    """How the weights start and how fast they move: the paper gives neither number."""

    sigma: Annotated[float, Field(gt=0, le=100)] = Field(
        0.1, description="Standard deviation of the initial weights, which are normal."
    )
    lr: Annotated[float, Field(gt=0, le=1e6)] = Field(
        0.1, description="Learning rate of plain gradient descent."
    )

    @property
    def name(self) -> str:
        """The setting in a few words."""
        return f"sigma {self.sigma:g}, lr {self.lr:g}"


def _each_once(settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
    each_once(tuple(one.name for one in settings))
    return settings


class IoffeParams(Params):
    """What is trained, how it starts, and when it counts as trained."""

    dataset: DatasetName = Field(
        "digits", description="Classes. `scale: paper` needs an uploaded MNIST."
    )
    settings: Annotated[tuple[Setting, ...], *several(MOST_SETTINGS, _each_once)] = Field(
        (Setting(sigma=0.1, lr=0.1), Setting(sigma=0.1, lr=0.5), Setting(sigma=0.01, lr=0.1)),
        min_length=1,
        max_length=MOST_SETTINGS,
        description="The verdict is about the first one.",
    )
    target: Annotated[float, Field(gt=0, le=1)] = Field(
        0.85, description="Test accuracy, 0 to 1, to which steps are counted."
    )
    steps: Count | None = Field(
        None, description="Optimizer steps; null: 5,000, and 50,000 with `scale: paper`."
    )
    evaluate_every: Count | None = Field(
        None,
        description="Optimizer steps between two evaluations, which is how finely steps are "
        "counted; null: 10, and 50 with `scale: paper`.",
    )

    @property
    def num_steps(self) -> int:
        """Optimizer steps of every run."""
        return self.steps or (PAPER_STEPS if self.scale == "paper" else STEPS)

    @property
    def target_text(self) -> str:
        """The target in percent."""
        return f"{100 * self.target:g} %"

    @property
    def resolution(self) -> int:
        """Optimizer steps between two evaluations."""
        default = PAPER_EVALUATE_EVERY if self.scale == "paper" else EVALUATE_EVERY
        return self.evaluate_every or default


def plan(params: IoffeParams, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Both arms of every setting, seed by seed.

    Raises:
        SpecRefused: `scale: paper` of a built-in dataset.
    """
    if params.scale == "paper":
        refuse_builtin(params.dataset, "MNIST")
    return tuple(
        PlannedRun(arm_name(arm, setting), seed, _spec(params, setting, arm, seed))
        for seed in seeds
        for setting in params.settings
        for arm in ARMS
    )


def arm_name(arm: Arm, setting: Setting) -> str:
    """What the runs of one norm and one setting are compared as."""
    return f"{arm}, {setting.name}"


def _spec(params: IoffeParams, setting: Setting, arm: Arm, seed: int) -> RunSpec:
    every = max(1, params.num_steps // PROBES)
    return spec_of(
        dataset=params.dataset,
        scaling="binary",
        split={"calibration": 0.0},
        network={"kind": "mlp", "hidden": HIDDEN, "activation": "sigmoid"},
        norm=arm,
        loss=CLASSES,
        init={"kind": "normal", "gain": setting.sigma},
        optimizer={"kind": "sgd", "lr": setting.lr},
        batch_size=BATCH_SIZE,
        tail="drop",
        budget={"steps": params.num_steps},
        evaluate_every={"steps": params.resolution},
        measures=[{"kind": "percentiles", "every": every}],
        seed=seed,
    )
