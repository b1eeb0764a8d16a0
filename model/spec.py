"""What may be asked of a run: frozen, bounded, every field captioned with its unit.

Torch-free, so that records and requests can be read without loading it. What a spec
means for a dataset (shapes, parameters, memory) is computed in `model.plan`.
"""

import hashlib
import json
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    Strict,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

MAX_STEPS = 1_000_000_000
MAX_SEED = 2**63 - 1


def plain_text(text: str) -> str:
    """Refuse what a terminal, a log or a database would trip over: control, format, surrogates.

    Raises:
        ValueError: a character of Unicode category Cc, Cf, Cs, Zl or Zp is in the text.
    """
    bad = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    if any(unicodedata.category(character) in bad for character in text):
        raise ValueError("control, format and surrogate characters are not allowed")
    return text


Label = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(plain_text)]
LabelKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,63}$")]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Units = Annotated[int, Field(ge=1, le=65_536)]
Count = Annotated[int, Field(ge=1, le=MAX_STEPS)]
Activation = Literal["tanh", "relu", "sigmoid", "gelu", "silu", "elu", "leaky_relu", "identity"]


class Part(BaseModel):
    """A value object: strict, frozen, no unknown field, no number that is not finite."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class Split(Part):
    """How rows become training, validation and test rows. A dataset's own test split wins."""

    test: Fraction = Field(
        0.2,
        description="Fraction of all rows held out for the test metrics; not read where the "
        "dataset brings its own test rows.",
    )
    validation: Fraction = Field(
        0.0,
        description="Fraction of all rows (of the training rows, where the dataset brings its own "
        "test rows) that `select: best` chooses on.",
    )
    seed: int = Field(0, ge=0, le=MAX_SEED, description="Seed of the split alone.")
    stratify: bool = Field(True, description="Keep each class's share in every part.")

    @model_validator(mode="after")
    def _leaves_rows_to_train(self) -> "Split":
        if self.test + self.validation >= 1:
            raise ValueError("test and validation together must leave rows to train on")
        return self


class Mlp(Part):
    """Linear layers with an activation between them, and a linear layer to the outputs."""

    kind: Literal["mlp"]
    hidden: Annotated[tuple[Units, ...], Strict(False)] = Field(
        (100,), max_length=64, description="Units of each hidden layer, input side first."
    )
    activation: Activation = Field("tanh", description="Applied after every hidden layer.")
    bias: bool = Field(
        True, description="Whether hidden linear layers have a bias; the output layer always has."
    )


class Linear(Part):
    """`torch.nn.Linear` over the last axis."""

    kind: Literal["linear"]
    out_features: Units | None = Field(
        None, description="Units; null means one per class or target: the output layer."
    )
    bias: bool = Field(True, description="Add a learned constant per unit.")


class Conv2d(Part):
    """`torch.nn.Conv2d` with square kernels."""

    kind: Literal["conv2d"]
    out_channels: Annotated[int, Field(ge=1, le=8_192)] = Field(description="Channels.")
    kernel_size: Annotated[int, Field(ge=1, le=64)] = Field(3, description="Pixels.")
    stride: Annotated[int, Field(ge=1, le=64)] = Field(1, description="Pixels.")
    padding: Annotated[int, Field(ge=0, le=64)] = Field(0, description="Pixels of zeros a side.")
    bias: bool = Field(True, description="Add a learned constant per channel.")


class NormHere(Part):
    """Where the run's `norm` stands. With `norm: none` nothing stands here."""

    kind: Literal["norm"]


class ActivationHere(Part):
    """An activation."""

    kind: Literal["activation"]
    activation: Activation = Field("relu", description="Applied element by element.")


class Pool(Part):
    """`torch.nn.MaxPool2d`, `AvgPool2d`, or the average of every position (`global_avg`)."""

    kind: Literal["pool"]
    pool: Literal["max", "avg", "global_avg"] = Field("max", description="How a window is reduced.")
    kernel_size: Annotated[int, Field(ge=1, le=64)] = Field(2, description="Pixels.")
    stride: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="Pixels; null means kernel_size."
    )


class Flatten(Part):
    """Every axis but the batch's becomes one."""

    kind: Literal["flatten"]


class Dropout(Part):
    """`torch.nn.Dropout`: active in training mode alone."""

    kind: Literal["dropout"]
    p: Fraction = Field(0.5, description="Probability that an element becomes 0.")


class Residual(Part):
    """`x + layers(x)`; shapes must agree, or `projection` makes them."""

    kind: Literal["residual"]
    layers: Annotated[tuple["Layer", ...], Strict(False)] = Field(
        min_length=1, max_length=64, description="The branch."
    )
    projection: bool = Field(
        False,
        description="Send x through a linear layer or a 1 x 1 convolution of the branch's shape.",
    )


Layer = Annotated[
    Linear | Conv2d | NormHere | ActivationHere | Pool | Flatten | Dropout | Residual,
    Field(discriminator="kind"),
]


class Layers(Part):
    """A network declared layer by layer; the last must give one output per class or target."""

    kind: Literal["layers"]
    layers: Annotated[tuple[Layer, ...], Strict(False)] = Field(
        min_length=1, max_length=256, description="Input side first."
    )


Network = Annotated[Mlp | Layers, Field(discriminator="kind")]
Placement = Annotated[
    Literal["before_activation", "after_activation"],
    Field(description="Side of the activation that `mlp` puts it on."),
]
_EPS = Annotated[float, Field(ge=0, le=1)]


class NoNorm(Part):
    """No normalization."""

    kind: Literal["none"]


class BatchNorm(Part):
    """Batch normalization with named conventions (docs/norms.md gives the formulas)."""

    kind: Literal["batch"]
    momentum: Annotated[float, Field(ge=0, le=1)] | None = Field(
        0.1,
        description="Share of the newest batch in the running values (PyTorch's sense); "
        "null is the cumulative average.",
    )
    eps: _EPS = Field(
        1e-5,
        description="Added to the variance, or with `running: deviation` to the deviation "
        "(default 0 there).",
    )
    affine: bool = Field(True, description="Learn a gain and a bias per channel.")
    placement: Placement = "before_activation"
    running: Literal["variance", "deviation"] = Field(
        "variance", description="What the running spread stores."
    )
    normalize: Literal["biased", "unbiased"] = Field(
        "biased", description="Divisor of the batch's spread in training mode: n or n - 1."
    )

    @model_validator(mode="before")
    @classmethod
    def _deviation_has_no_eps(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("running") == "deviation" and "eps" not in data:
            return {**data, "eps": 0.0}
        return data


class LayerNorm(Part):
    """Layer normalization: each row over all its values; no running statistics."""

    kind: Literal["layer"]
    eps: _EPS = Field(1e-5, description="Added to the variance.")
    affine: bool = Field(True, description="Learn a gain and a bias.")
    placement: Placement = "before_activation"


class GroupNorm(Part):
    """Group normalization: each row over groups of channels; no running statistics."""

    kind: Literal["group"]
    groups: Annotated[int, Field(ge=1, le=8_192)] = Field(
        2, description="Groups; must divide the channels of every norm layer."
    )
    eps: _EPS = Field(1e-5, description="Added to the variance.")
    affine: bool = Field(True, description="Learn a gain and a bias per channel.")
    placement: Placement = "before_activation"


def _bare_kind(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


NormByKind = Annotated[NoNorm | BatchNorm | LayerNorm | GroupNorm, Field(discriminator="kind")]
BareNorm = Literal["none", "batch", "layer", "group"]
Norm = Annotated[
    NormByKind, BeforeValidator(_bare_kind, json_schema_input_type=NormByKind | BareNorm)
]

InitKind = Literal["normal", "xavier_normal", "xavier_uniform", "kaiming_normal", "kaiming_uniform"]
InitBias = Annotated[
    Literal["zeros", "normal", "torch"],
    Field(description="`normal` draws N(0, 1); `torch` is U(-1, 1)/sqrt(fan_in)."),
]
_GAIN = Field(1.0, ge=0, le=1e6, description="Factor on the drawn weights.")


class OutputInit(Part):
    """How the output layer starts, when it differs from the others."""

    kind: InitKind = Field("xavier_normal", description="Distribution of the weights.")
    gain: float = _GAIN
    bias: InitBias = "zeros"


class Init(Part):
    """How weights and biases start."""

    kind: InitKind = Field("xavier_normal", description="`normal` is N(0, 1) times the gain.")
    gain: float = _GAIN
    bias: InitBias = "zeros"
    output: OutputInit | None = Field(None, description="The output layer's own; null: as others.")


class Loss(Part):
    """What training minimizes."""

    kind: Literal["cross_entropy", "squared_error", "half_sum_squares"] = Field(
        description="`squared_error` is the mean over elements, `half_sum_squares` half the sum; "
        "class targets become one-hot rows for both."
    )


_LR = Field(0.1, gt=0, le=1e12, description="Learning rate.")
_DECAY = Field(0.0, ge=0, le=1e6, description="L2 penalty, as in torch.optim.")
_BETA = Annotated[float, Field(ge=0, lt=1)]


class Sgd(Part):
    """`torch.optim.SGD`."""

    kind: Literal["sgd"]
    lr: float = _LR
    momentum: Fraction = Field(0.0, description="Momentum of the optimizer, not of the norm.")
    nesterov: bool = Field(False, description="Nesterov's form; needs momentum > 0.")
    weight_decay: float = _DECAY

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "Sgd":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class Adam(Part):
    """`torch.optim.Adam`."""

    kind: Literal["adam"]
    lr: float = Field(1e-3, gt=0, le=1e12, description="Learning rate.")
    beta1: _BETA = Field(0.9, description="Decay of the mean of gradients.")
    beta2: _BETA = Field(0.999, description="Decay of the mean of squared gradients.")
    eps: float = Field(1e-8, gt=0, le=1, description="Added to the root.")
    weight_decay: float = _DECAY


class AdamW(Adam):
    """`torch.optim.AdamW`: the decay is taken from the weights, not from the gradient."""

    kind: Literal["adamw"]  # type: ignore[assignment]
    weight_decay: float = Field(0.01, ge=0, le=1e6, description="Decoupled weight decay.")


Optimizer = Annotated[Sgd | Adam | AdamW, Field(discriminator="kind")]


class Constant(Part):
    """The learning rate stays, after an optional linear warm-up."""

    kind: Literal["constant"]
    warmup_steps: int = Field(0, ge=0, le=MAX_STEPS, description="Steps of linear warm-up from 0.")


class StepDecay(Part):
    """The learning rate is multiplied by `gamma` every `every_steps` steps."""

    kind: Literal["step"]
    every_steps: Count = Field(description="Steps between two decays.")
    gamma: float = Field(0.1, gt=0, le=1, description="Factor of each decay.")
    warmup_steps: int = Field(0, ge=0, le=MAX_STEPS, description="Steps of linear warm-up from 0.")


class Cosine(Part):
    """Half a cosine from `lr` to `final_fraction * lr` over the budget after the warm-up."""

    kind: Literal["cosine"]
    final_fraction: float = Field(0.0, ge=0, le=1, description="Share of lr left at the end.")
    warmup_steps: int = Field(0, ge=0, le=MAX_STEPS, description="Steps of linear warm-up from 0.")


Schedule = Annotated[Constant | StepDecay | Cosine, Field(discriminator="kind")]


class Span(Part):
    """A length of training: exactly one of steps and epochs."""

    steps: Count | None = Field(None, description="Optimizer steps.")
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Passes over the training rows."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> "Span":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of steps and epochs")
        return self

    @model_serializer(mode="wrap")
    def _only_the_one_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, int]:
        return {unit: length for unit, length in handler(self).items() if length is not None}


DATASET_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"


class RunSpec(Part):
    """Everything that decides a run. Two runs of one spec give the same numbers on one machine."""

    name: Label | None = Field(None, description="For people; not part of the spec's hash.")
    dataset: Annotated[str, Field(pattern=DATASET_NAME)] = Field(
        description="Name of a built-in dataset, or the id or name of an uploaded one."
    )
    split: Split = Field(Split(), description="Training, validation and test rows.")
    scaling: Literal["standard", "minmax", "none"] = Field(
        "standard", description="Input scaling, fitted on the training rows."
    )
    network: Network = Field(description="The layers.")
    norm: Norm = Field(
        NoNorm(kind="none"), description="The norm of every norm layer; a bare kind is enough."
    )
    init: Init = Field(Init(), description="How weights start.")
    loss: Loss | None = Field(
        None, description="Default: cross_entropy for classes, squared_error for numbers."
    )
    optimizer: Optimizer = Field(Sgd(kind="sgd"), description="How weights move.")
    schedule: Schedule = Field(Constant(kind="constant"), description="How lr moves.")
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        32, description="Rows per optimizer step; at most the training rows."
    )
    sampling: Literal["permutation", "with_replacement"] = Field(
        "permutation", description="Every row once an epoch, or independent draws."
    )
    tail: Literal["keep", "merge", "drop"] = Field(
        "keep",
        description="A short last batch of an epoch: train on it, add it to the batch before, "
        "or leave its rows out of that epoch.",
    )
    budget: Span = Field(Span(epochs=20), description="Length of training.")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="Of initialization, order and dropout.")
    precision: Literal["float32", "float64", "bfloat16"] = Field(
        "float32", description="Arithmetic; bfloat16 is mixed precision and needs CUDA."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="`auto` takes a GPU while a GPU worker is alive."
    )
    threads: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="CPU threads; another count gives other numbers."
    )
    evaluate_every: Span = Field(Span(epochs=1), description="Between two evaluations.")
    checkpoint_every: Span | None = Field(
        None, description="Between two checkpoints; null: one, at the end."
    )
    select: Literal["last", "best"] = Field(
        "last", description="`best` chooses on the validation rows, never on the test rows."
    )
    measures: Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Strict(False)] = Field(
        (), max_length=0, description="Extra probes; none exist in this version."
    )
    labels: Annotated[
        dict[LabelKey, Annotated[str, Field(max_length=200), AfterValidator(plain_text)]],
        WithJsonSchema(
            {
                "type": "object",
                "maxProperties": 32,
                "propertyNames": {"pattern": "^[A-Za-z0-9_.-]{1,63}$"},
                "additionalProperties": {"type": "string", "maxLength": 200},
            }
        ),
    ] = Field({}, max_length=32, description="Free pairs to filter by; not part of the hash.")

    @model_validator(mode="after")
    def _best_needs_validation(self) -> "RunSpec":
        if self.select == "best" and self.split.validation == 0:
            raise ValueError("select: best needs split.validation above 0")
        return self

    @property
    def hash(self) -> str:
        """sha256 over everything that decides the numbers; name and labels do not."""
        body = self.model_dump(mode="json", exclude={"name", "labels"})
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
