"""Norms: what a norm layer computes, with every convention named.

docs/norms.md gives the formulas. The three classes that are no kind of their own say what
several kinds share: the defaults of a field are then written once.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from model.spec.parts import MAX_STEPS, Part

Placement = Annotated[
    Literal["before_activation", "after_activation"],
    Field(description="Side of the activation that `mlp` and `vgg` put it on."),
]
_EPS = Annotated[float, Field(ge=0, le=1)]
_SIZE = Annotated[float, Field(ge=0, le=1_000)]
_BATCHES = Annotated[int, Field(ge=0, le=MAX_STEPS)]


class NoNorm(Part):
    """No normalization."""

    kind: Literal["none"]


class OverBatch(Part):
    """What all norms have whose statistics come from the batch and are averaged for eval mode."""

    kind: str
    momentum: Annotated[float, Field(ge=0, le=1)] | None = Field(
        0.1,
        description="Share of the newest batch in the running values (PyTorch's sense); "
        "null is the cumulative average.",
    )
    eps: _EPS = Field(1e-5, description="Added to what is divided by.")
    affine: bool = Field(True, description="Learn a gain and a bias per channel.")
    placement: Placement = "before_activation"


class BatchStatistics(OverBatch):
    """What all norms have that average the mean and the spread of a batch."""

    eps: _EPS = Field(
        1e-5,
        description="Added to the variance, or with `running: deviation` to the deviation "
        "(default 0 there).",
    )
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


class BatchNorm(BatchStatistics):
    """Batch normalization with named conventions (docs/norms.md gives the formulas)."""

    kind: Literal["batch"]


class NoiseSizes(Part):
    """How large the noise is that training mode puts on every value: s * x + m."""

    kind: str
    n_mu: _SIZE = Field(
        0.5, description="Mean of m: drawn at every step from U(-n_mu, n_mu), per unit or layer."
    )
    n_sigma: Annotated[float, Field(ge=1, le=1_000)] = Field(
        1.25, description="Mean of s: drawn at every step from U(1, n_sigma), per unit or layer."
    )
    r_mu: _SIZE = Field(0.1, description="m of a value is uniform, at most this far from its mean.")
    r_sigma: _SIZE = Field(0.1, description="Standard deviation of s, which is normal.")
    per: Literal["unit", "layer"] = Field(
        "unit", description="What shares the two means: a unit (of images: a channel) or a layer."
    )


class NoisyBatchNorm(NoiseSizes, BatchStatistics):
    """Batch normalization, and in training mode noise behind it that is new at every step."""

    kind: Literal["noisy_batch"]


class Noise(NoiseSizes):
    """The noise of `noisy_batch` where a norm would stand, and no norm: a control."""

    kind: Literal["noise"]
    placement: Placement = "before_activation"


class LpNorm(OverBatch):
    """Batch normalization that divides by the average l_p norm of what enters it."""

    kind: Literal["lp"]
    p: Literal[1, 2, "inf"] = Field(
        1, description="1: mean of |x|, 2: root of the mean of x^2, inf: largest |x|."
    )
    eps: _EPS = Field(1e-5, description="Added to the l_p norm.")

    @field_validator("p", mode="before")
    @classmethod
    def _is_no_boolean(cls, value: Any) -> Any:
        if isinstance(value, bool | float):  # true == 1.0 == 1 to Python
            raise ValueError('must be 1, 2 or "inf"')
        return value


class GhostBatchNorm(BatchStatistics):
    """Batch normalization of each group of a batch by itself."""

    kind: Literal["ghost_batch"]
    group_size: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        16,
        description="Rows that are normalized together; what a batch has left over is one more "
        "group.",
    )


class BatchRenorm(BatchStatistics):
    """Batch normalization, corrected in training mode towards the running statistics."""

    kind: Literal["batch_renorm"]
    r_max: Annotated[float, Field(ge=1, le=1e6)] = Field(
        3.0, description="The correction of the scale is kept within 1 / r_max and r_max."
    )
    d_max: Annotated[float, Field(ge=0, le=1e6)] = Field(
        5.0, description="The correction of the mean is kept within -d_max and d_max deviations."
    )
    warmup_batches: _BATCHES = Field(
        5_000, description="Batches without any correction: plain batch normalization."
    )
    r_ramp_batches: _BATCHES = Field(
        35_000, description="Batches after the warm-up in which the first bound grows from 1."
    )
    d_ramp_batches: _BATCHES = Field(
        20_000, description="Batches after the warm-up in which the second bound grows from 0."
    )


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


class InstanceNorm(Part):
    """Instance normalization: each channel of each row over its positions; no running statistics.

    Rows need positions: (channels, height, width), or any other axis behind the channels.
    """

    kind: Literal["instance"]
    eps: _EPS = Field(1e-5, description="Added to the variance.")
    affine: bool = Field(True, description="Learn a gain and a bias per channel.")
    placement: Placement = "before_activation"


def _bare_kind(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


NormByKind = Annotated[
    NoNorm
    | BatchNorm
    | NoisyBatchNorm
    | Noise
    | LpNorm
    | GhostBatchNorm
    | BatchRenorm
    | LayerNorm
    | GroupNorm
    | InstanceNorm,
    Field(discriminator="kind"),
]
BareNorm = Literal[
    "none",
    "batch",
    "noisy_batch",
    "noise",
    "lp",
    "ghost_batch",
    "batch_renorm",
    "layer",
    "group",
    "instance",
]
Norm = Annotated[
    NormByKind, BeforeValidator(_bare_kind, json_schema_input_type=NormByKind | BareNorm)
]
