"""Running statistics judged, and compared with those of another checkpoint, over HTTP."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field
from sqlalchemy import Connection
from torch import nn

from api import diagnosis
from api.bodies import StrictRoute
from api.openapi import refusals
from api.problems import Invalid
from api.resources import FindingResource, Resource
from api.routes.checkpoints import ID, CheckpointId
from api.services import Given
from api.validation import FieldError
from core import checkpoints
from core.checkpoints import Checkpoint
from core.errors import CheckpointNotFound
from model.checkpoint import Loaded
from model.errors import ShapeMismatch, SpecRefused
from model.statistics.diff import difference

router = APIRouter(
    prefix="/v1/checkpoints/{checkpoint_id}", tags=["statistics"], route_class=StrictRoute
)


class Diagnosis(Resource):
    """What is wrong with the running statistics of a checkpoint."""

    object: Literal["diagnosis"] = "diagnosis"
    checkpoint: str = Field(description="`ckpt_…`")
    findings: list[FindingResource] = Field(
        description="Errors first: with one, no model serves the checkpoint."
    )


class LayerDiff(Resource):
    """One norm layer in two checkpoints. Both variances have eps added."""

    layer: str = Field(description="Its state-dict prefix.")
    channels: int = Field(description="Channels, C.")
    kl_mean: float | None = Field(
        description="Symmetric KL divergence of the two normal distributions, mean over channels."
    )
    kl_max: float | None = Field(description="The same, of the channel where it is largest.")
    mean_cosine: float | None = Field(description="Cosine between the means, -1 to 1.")
    variance_cosine: float | None = Field(description="Cosine between the variances.")
    largest_z: float | None = Field(
        description="Largest distance of two means, in deviations of the first."
    )
    z_channel: int = Field(description="The channel where that is.")
    not_finite: dict[str, str] | None = Field(
        None, description="nan, inf or -inf by field, where one is null."
    )


class Diff(Resource):
    """How far the running statistics of two checkpoints are apart."""

    model_config = ConfigDict(populate_by_name=True)

    object: Literal["diff"] = "diff"
    checkpoint: str = Field(description="`ckpt_…`, the first.")
    other: str = Field(alias="with", description="`ckpt_…`, the second.")
    layers: list[LayerDiff] = Field(description="Norm layers of both, in network order.")
    only_first: list[str] = Field(description="Norm layers that the first alone has.")
    only_second: list[str] = Field(description="Norm layers that the second alone has.")


@router.get("/diagnosis", responses=refusals(404, 422))
async def get_diagnosis(checkpoint_id: CheckpointId, services: Given) -> Diagnosis:
    """What is wrong with the running statistics, layer by layer, and what to do about it.

    What was found when the checkpoint was saved, with rows at hand, and what its tensors tell
    now.
    """
    record = await services.database.aread(lambda c: checkpoints.get(c, checkpoint_id))
    found = await diagnosis.diagnosed(services, record)
    return Diagnosis(
        checkpoint=record.id, findings=[FindingResource(**vars(finding)) for finding in found]
    )


@router.get("/diff", responses=refusals(404, 422))
async def get_diff(
    checkpoint_id: CheckpointId,
    services: Given,
    other: Annotated[
        str, Query(alias="with", pattern=ID, description="The checkpoint to compare with.")
    ],
) -> Diff:
    """How far the running statistics are from those of another checkpoint, layer by layer."""

    def read(connection: Connection) -> tuple[Checkpoint, Checkpoint]:
        return checkpoints.get(connection, checkpoint_id), _compared(connection, other)

    first, second = await services.database.aread(read)
    network = await services.predictions.look(first, lambda loaded: loaded.network)
    told = await services.predictions.look(second, lambda loaded: _difference(network, loaded))
    return Diff(checkpoint=first.id, other=second.id, **told)


def _compared(connection: Connection, other: str) -> Checkpoint:
    try:
        return checkpoints.get(connection, other)
    except CheckpointNotFound as error:
        raise SpecRefused("with", error.message, error.reason) from None


def _difference(network: nn.Module, other: Loaded) -> dict[str, Any]:
    try:
        return difference(network, other.network)
    except ShapeMismatch as error:
        raise Invalid(FieldError(path="with", message=error.message)) from error
