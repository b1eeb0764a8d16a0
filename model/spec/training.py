"""How weights start and move: initialization, loss, optimizer, schedule, lengths of training."""

from typing import Annotated, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from model.spec.parts import MAX_STEPS, Count, Fraction, Part

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
    """How weights and biases start. An embedding is N(0, 1) whatever is asked for."""

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
