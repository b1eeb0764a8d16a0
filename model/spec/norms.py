"""Norms: what a norm layer computes, with every convention named."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from model.spec.parts import Part

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
