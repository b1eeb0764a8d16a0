"""What the makemore experiment trains: one hidden layer from five starts, and deep networks."""

from collections.abc import Sequence
from math import sqrt
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from model.errors import SpecRefused
from model.lab import experiment
from model.lab.errors import CLASSES
from model.lab.experiment import DatasetName, PlannedRun, spec_of
from model.lab.post_norm import POST_NORM
from model.lab.several import each_once, several
from model.spec.parts import Count, Units

FAN_IN = 30
PUBLISHED_STEPS, DEFAULT_STEPS = 200_000, 3_000
LOOKS = 10  # checkpoints at which running statistics are looked at
PROBES = 50
NORMS = ("none", "batch")
DEEP_NAMED = {"budget": "deep_steps", "evaluate_every": "deep_steps"}  # params by their fields

_QUIET = {"kind": "normal", "gain": 0.01, "bias": "zeros"}  # of the output layer
_TANH = 5 / 3  # the gain of a tanh
NAIVE, OUTPUT, HIDDEN, KAIMING, BATCH = STARTS = (
    "naive",
    "output x .01",
    "hidden x .2",
    "Kaiming 5/3",
    "batch norm",
)
#: Each start is a step of the notebook. The last is the second with a norm.
INITS: dict[str, dict[str, Any]] = {
    NAIVE: {"kind": "normal", "bias": "normal"},
    OUTPUT: {"kind": "normal", "bias": "normal", "output": _QUIET},
    HIDDEN: {"kind": "normal", "gain": 0.2, "bias": "zeros", "output": _QUIET},
    # He's normal draw is from N(0, 2 / fan_in).
    KAIMING: {
        "kind": "kaiming_normal",
        "gain": _TANH / sqrt(2),
        "bias": "zeros",
        "output": _QUIET,
    },
    BATCH: {"kind": "normal", "bias": "normal", "output": _QUIET},
}


def _sorted(gains: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted(gains))


class Params(experiment.Params):
    """Which rows, which networks, and how long they are trained."""

    scale: Literal["default", "paper"] = Field(
        "default",
        description="`paper` is the notebook: 200,000 steps on a word list, which `dataset` and "
        "`symbols` name.",
    )
    dataset: DatasetName = Field(
        "digits", description="Any classification set; a word list with `symbols`."
    )
    symbols: Units | None = Field(
        None,
        description="Of a word list, a dataset of format text: its different characters with the "
        "boundary, 27 for a to z. An embedding of so many vectors stands first. null: the rows are "
        "features.",
    )
    embedding_dim: Units = Field(10, description="Values of each vector of the embedding.")
    fan_in: Units | None = Field(
        None,
        description="The first layer sees the first so many features; null: 30. Of images they are "
        "pixels of the upper edge, where those of MNIST are blank.",
    )
    hidden: Units = Field(200, description="Tanh units of the network with one hidden layer.")
    steps: Count | None = Field(
        None, description="Its optimizer steps, at rate .1 and .01 in the second half; null: 3,000."
    )
    depth: Annotated[int, Field(ge=2, le=32)] = Field(
        5, description="Hidden layers of the deep network."
    )
    width: Units = Field(100, description="Tanh units of each of them.")
    gains: Annotated[
        tuple[Annotated[float, Field(gt=0, le=1e6)], ...],
        *several(8, each_once),
        AfterValidator(_sorted),
    ] = Field(
        (0.5, 1.0, 5 / 3, 3.0),
        min_length=1,
        max_length=8,
        description="Of its weights, N(0, 1 / fan_in) times this; each with and without norm.",
    )
    deep_steps: Count = Field(1_000, description="Its optimizer steps, at rate .1.")
    batch_size: Annotated[int, Field(ge=3, le=1_000_000)] = Field(
        32,
        description="Rows a step, drawn with replacement: of 2, soon both are one row, which has "
        "no deviation.",
    )

    @property
    def all_steps(self) -> int:
        """Optimizer steps of the network with one hidden layer."""
        if self.steps is not None:
            return self.steps
        return PUBLISHED_STEPS if self.scale == "paper" else DEFAULT_STEPS


def deep_arm(norm: str, gain: float) -> str:
    """The name of an arm of the deep network."""
    return f"deep, gain {gain:g}, {norm}"


def plan(params: Params, seeds: Sequence[int]) -> tuple[PlannedRun, ...]:
    """Five starts, and the deep network of every gain with and without norm, seed by seed.

    Raises:
        SpecRefused: `fan_in` of a word list, or `scale: paper` without one.
    """
    _refuse(params)
    shallow = {start: _shallow(params, start) for start in STARTS}
    deep = {
        deep_arm(norm, gain): _deep(params, norm, gain) for gain in params.gains for norm in NORMS
    }
    parts = ((shallow, _named(params, "hidden")), (deep, _named(params, "width") | DEEP_NAMED))
    return tuple(
        PlannedRun(arm, seed, spec_of(**fields, seed=seed), named)
        for seed in seeds
        for specs, named in parts
        for arm, fields in specs.items()
    )


def _refuse(params: Params) -> None:
    if params.symbols is not None and params.fan_in is not None:
        message = "of a word list the first layer sees every vector: leave fan_in or symbols out"
        raise SpecRefused("fan_in", message)
    if params.symbols is None and "embedding_dim" in params.model_fields_set:
        raise SpecRefused("embedding_dim", "there is no embedding without symbols")
    if params.scale == "paper" and params.symbols is None:
        message = "the notebook trains on a word list: upload one and say how many symbols it has"
        raise SpecRefused("symbols", message)


def _named(params: Params, units: str) -> dict[str, str]:
    """Params by the fields that they fill: what the first layers look at, and all others."""
    if params.symbols is None:
        return {"network.layers.1": "fan_in", "network": units}
    return {"network.layers.0": "symbols", "network": units}


def _shallow(params: Params, start: str) -> dict[str, Any]:
    layers = (
        *({"kind": "linear", "out_features": params.hidden}, {"kind": "norm"}),
        *({"kind": "activation", "activation": "tanh"}, {"kind": "linear"}),
    )
    steps, is_normed = params.all_steps, start == BATCH
    every = {"steps": max(1, steps // LOOKS)}
    return _fields(params, layers, steps) | {
        "norm": POST_NORM if is_normed else "none",
        "init": INITS[start],
        "schedule": {"kind": "step", "every_steps": -(-steps // 2), "gamma": 0.1},
        "checkpoint_every": every if is_normed else None,
    }


def _deep(params: Params, norm: str, gain: float) -> dict[str, Any]:
    linear = {"kind": "linear", "out_features": params.width, "bias": False}
    block = (linear, {"kind": "norm"}, {"kind": "activation", "activation": "tanh"})
    layers = (*block * params.depth, {"kind": "linear"})
    steps = params.deep_steps
    kept = {"kind": "kaiming_normal", "gain": 0.1 / sqrt(2), "bias": "zeros"}
    return _fields(params, layers, steps) | {
        "norm": {"kind": "batch", "normalize": "unbiased"} if norm == "batch" else "none",
        "init": {"kind": "kaiming_normal", "gain": gain / sqrt(2), "output": kept},
        "measures": [
            {"kind": "histograms", "every": steps},
            {"kind": "gradients", "every": max(1, steps // PROBES)},
        ],
    }


def _fields(params: Params, layers: Sequence[dict[str, Any]], steps: int) -> dict[str, Any]:
    return {
        "dataset": params.dataset,
        "scaling": "standard" if params.symbols is None else "none",
        "network": {"kind": "layers", "layers": [*_inputs(params), *layers]},
        "loss": CLASSES,
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "batch_size": params.batch_size,
        "sampling": "with_replacement",
        "budget": {"steps": steps},
        "evaluate_every": {"steps": max(1, steps // PROBES)},
    }


def _inputs(params: Params) -> tuple[dict[str, Any], ...]:
    flatten = {"kind": "flatten"}
    if params.symbols is None:
        return (flatten, {"kind": "columns", "first": params.fan_in or FAN_IN})
    vectors = {"num_embeddings": params.symbols, "embedding_dim": params.embedding_dim}
    return ({"kind": "embedding", **vectors}, flatten)
