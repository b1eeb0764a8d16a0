"""The running statistics of a checkpoint over HTTP: what they hold."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from api.bodies import StrictRoute
from api.openapi import refusals
from api.problems import Invalid
from api.resources import Resource
from api.routes.checkpoints import CheckpointId
from api.services import Given
from api.validation import FieldError
from core import checkpoints
from model.checkpoint import Loaded
from model.statistics.inspect import inspect

router = APIRouter(
    prefix="/v1/checkpoints/{checkpoint_id}", tags=["statistics"], route_class=StrictRoute
)

Layer = Annotated[
    str | None,
    Query(max_length=200, description="Only the layer of this name, such as `1` or `4.branch.0`."),
]
WithValues = Annotated[bool, Query(description="Also the vectors, one number per channel.")]


class Summary(Resource):
    """One vector of a layer in a few numbers, over its finite values."""

    finite: int = Field(description="Finite values.")
    not_finite: dict[str, int] | None = Field(
        None, description="How many are `nan`, `inf` or `-inf`; null where none is."
    )
    min: float | None = Field(description="Least value; null where none is finite.")
    mean: float | None = Field(description="Mean.")
    max: float | None = Field(description="Greatest value.")
    p05: float | None = Field(description="5 % quantile.")
    p25: float | None = Field(description="25 % quantile.")
    median: float | None = Field(description="50 % quantile.")
    p75: float | None = Field(description="75 % quantile.")
    p95: float | None = Field(description="95 % quantile.")


class LayerStatistics(Resource):
    """What one norm layer knows of its channels."""

    layer: str = Field(description="Its state-dict prefix.")
    kind: Literal["batch", "noisy_batch", "lp", "ghost_batch", "batch_renorm"] = Field(
        description="Kind of norm, as in a spec."
    )
    channels: int = Field(description="Channels, C.")
    momentum: float | None = Field(
        description="Share of the newest batch; null is the cumulative average."
    )
    eps: float = Field(description="Added to the variance, or to the deviation.")
    affine: bool = Field(description="Whether it has gain and bias.")
    running: Literal["variance", "deviation", "scale"] = Field(
        description="What the running spread holds; the scale is that of `lp`."
    )
    normalize: Literal["biased", "unbiased"] | None = Field(
        description="Divisor in training mode; null for `lp`, which has another."
    )
    batches_tracked: int | None = Field(
        description="Batches that it has seen, of `ghost_batch` groups; null where the file it "
        "came from did not say."
    )
    share_of_initial: float | None = Field(
        description="Share of the initial 0 and 1 still in it, (1 - momentum)^batches."
    )
    window_batches: float | None = Field(
        description="Batches it effectively averages over; null where nothing is averaged."
    )
    trustworthy_step: int | None = Field(
        description="First step, of `ghost_batch` group, whose share of the initial values is at "
        "most 5 %; null: never."
    )
    is_initial: bool = Field(description="Whether mean and spread are exactly 0 and 1.")
    fits_float16: bool = Field(description="Whether every value is within half precision.")
    dead_channels: list[int] = Field(
        description="Channels with less than 1e-6 of the layer's median variance."
    )
    gain_near_zero: list[int] = Field(description="Channels that the gain switches off.")
    fingerprint: str = Field(description="sha256 over this layer's running statistics.")
    mean: Summary = Field(description="Running mean.")
    variance: Summary = Field(
        description="Running variance; a running deviation or scale is squared."
    )
    gain: Summary | None = Field(description="Learned gain; null without affine.")
    bias: Summary | None = Field(description="Learned bias; null without affine.")
    values: dict[str, Any] | None = Field(
        None,
        description="With `values=true`: `mean`, `variance`, `gain` and `bias` in full. A number "
        "that is not finite is null, and `not_finite` says which it is, by name and index.",
    )


class LayerGap(Resource):
    """What one layer adds to the gap when it joins those before it on batch statistics."""

    layer: str = Field(description="Its state-dict prefix.")
    points: float | None = Field(description="Of accuracy; null for regression.")
    loss: float | None = Field(description="Of the loss; null where it is not finite.")


class TrainEvalGap(Resource):
    """What eval mode costs against batch statistics on the same rows; positive: it is worse."""

    rows: int = Field(description="Rows that were scored with both.")
    points: float | None = Field(description="Hundredths of accuracy; null for regression.")
    loss: float | None = Field(description="Loss per row; null where it is not finite.")
    p_value: float | None = Field(
        description="McNemar's exact test on the rows that one of the two alone gets right."
    )
    layers: list[LayerGap] = Field(
        description="Its parts, which sum to it; empty where nobody has divided it."
    )


class StatisticsResource(Resource):
    """The running statistics of a checkpoint, layer by layer."""

    object: Literal["statistics"] = "statistics"
    checkpoint: str = Field(description="`ckpt_…`")
    fingerprint: str = Field(description="sha256 over all of them.")
    train_eval_gap: TrainEvalGap | None = Field(
        description="As it was measured when the checkpoint was saved; null where it was not."
    )
    layers: list[LayerStatistics] = Field(description="Norm layers in network order.")


@router.get("/statistics", responses=refusals(404, 422))
async def get_statistics(
    checkpoint_id: CheckpointId,
    services: Given,
    layer: Layer = None,
    values: WithValues = False,
) -> StatisticsResource:
    """What eval mode depends on: the running statistics with gain and bias, per norm layer.

    A network without batch norm has none, and an empty list.
    """
    record = await services.database.aread(lambda c: checkpoints.get(c, checkpoint_id))

    def look(loaded: Loaded) -> list[dict[str, Any]]:
        known = loaded.about.evidence()
        try:
            return inspect(loaded.network, layer=layer, values=values, known=known)
        except ValueError as error:
            raise Invalid(FieldError(path="layer", message=str(error))) from error

    layers = await services.predictions.look(record, look)
    gap = (record.history or {}).get("train_eval_gap")
    return StatisticsResource(
        checkpoint=record.id,
        fingerprint=record.fingerprint,
        train_eval_gap=None if gap is None else TrainEvalGap.model_validate(gap),
        layers=[LayerStatistics.model_validate(facts) for facts in layers],
    )
