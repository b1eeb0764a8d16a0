"""Measures: what is looked at while a run trains. Each changes nothing of the run's numbers."""

from math import ceil, log10
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, Strict, model_validator

from model.spec.parts import Count, Part, at_most

_EVERY = Field(
    None,
    description="Optimizer steps between two probes; null is computed from the spec, so that all "
    "measures together take under 8 % of the training's row-passes.",
)
MOST_STEP_LENGTHS = 1_000  # of one probe: each is a pass of the whole batch
Every = Count | None
Ordinal = Annotated[int, Field(ge=1, le=10_000)]
Ordinals = Annotated[tuple[Ordinal, ...], Strict(False), at_most(64)]


class Saturation(Part):
    """Saturated and dead units of every activation layer, on fixed rows."""

    kind: Literal["saturation"]
    every: Every = _EVERY


class InputShift(Part):
    """How the input of each layer moves in one optimizer step, on fixed rows."""

    kind: Literal["input_shift"]
    every: Every = _EVERY


class Gradients(Part):
    """Norm of each layer's gradient, and the size of its update beside that of its weights."""

    kind: Literal["gradients"]
    every: Every = _EVERY


class Histograms(Part):
    """Histograms of activations and of their gradients, layer by layer."""

    kind: Literal["histograms"]
    every: Every = _EVERY
    bins: Annotated[int, Field(ge=4, le=256)] = Field(40, description="Bins of each histogram.")


class Percentiles(Part):
    """Percentiles 15, 50 and 85 of the input of each unit's activation, on fixed rows."""

    kind: Literal["percentiles"]
    every: Every = _EVERY
    layers: Ordinals | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Activation layers, counted from 1; null: the last one.",
    )


class Moments(Part):
    """Mean and deviation of each unit or channel before and after its activation."""

    kind: Literal["moments"]
    every: Every = _EVERY


class CovariateShift(Part):
    """Internal covariate shift as Santurkar et al. 2018 define it: gradients before and after."""

    kind: Literal["covariate_shift"]
    every: Every = _EVERY
    layers: Ordinals | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Layers with weights, counted from 1; null: three, evenly chosen.",
    )


class Landscape(Part):
    """Loss and gradient along the gradient: variation, predictiveness and effective beta."""

    kind: Literal["landscape"]
    every: Every = _EVERY
    low: Annotated[float, Field(gt=0, le=1e6)] = Field(
        0.5, description="Shortest step, in learning rates."
    )
    high: Annotated[float, Field(gt=0, le=1e6)] = Field(
        4.0, description="Longest step, in learning rates."
    )
    steps: Annotated[int, Field(ge=2, le=64)] = Field(8, description="Step lengths.")
    spacing: Literal["linear", "log"] = Field("linear", description="How they are spread.")

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class RelativeLoss(Part):
    """Loss after steps of many lengths along the gradient, as a share of the loss before."""

    kind: Literal["relative_loss"]
    at: Ordinals = Field(
        (1, 4, 7), min_length=1, max_length=64, description="Mini-batches, counted from 1."
    )
    low: Annotated[float, Field(gt=0, le=1e6)] = Field(1e-8, description="Shortest step.")
    high: Annotated[float, Field(gt=0, le=1e6)] = Field(10.0, description="Longest step.")
    per_decade: Annotated[int, Field(ge=1, le=50)] = Field(
        10,
        description=f"Steps per decade; from low to high {MOST_STEP_LENGTHS:,} at most.",
    )

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self

    @model_validator(mode="after")
    def _step_lengths_are_few_enough(self) -> Self:
        count = 1 + ceil(round((log10(self.high) - log10(self.low)) * self.per_decade, 6))
        if count > MOST_STEP_LENGTHS:
            raise ValueError(
                f"these are {count} step lengths; at most {MOST_STEP_LENGTHS} are allowed"
            )
        return self


MeasureByKind = Annotated[
    Saturation
    | InputShift
    | Gradients
    | Histograms
    | Percentiles
    | Moments
    | CovariateShift
    | Landscape
    | RelativeLoss,
    Field(discriminator="kind"),
]
BareMeasure = Literal[
    "saturation",
    "input_shift",
    "gradients",
    "histograms",
    "percentiles",
    "moments",
    "covariate_shift",
    "landscape",
    "relative_loss",
]


def _bare_kind(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


Measure = Annotated[
    MeasureByKind, BeforeValidator(_bare_kind, json_schema_input_type=MeasureByKind | BareMeasure)
]
