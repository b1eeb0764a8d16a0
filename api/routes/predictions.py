"""Predictions over HTTP: rows in any accepted form, answered with a run's checkpoint."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from sqlalchemy import Connection

from api import bodies, openapi
from api.bodies import JSON
from api.openapi import refusals
from api.routes.runs import RunId
from api.services import Given
from api.serving import inputs
from api.serving.answers import PredictAnswer
from api.serving.inputs import PredictRequest, Sent
from core import checkpoints, runs
from core.checkpoints import Checkpoint
from core.errors import CheckpointNotReady

router = APIRouter(prefix="/v1/runs", tags=["predictions"])

_BODIES = openapi.body(
    {
        JSON: PredictRequest,
        inputs.RAW: "float32, little-endian, row-major, with its shape in X-Shape; or a .npy file.",
        **dict.fromkeys(inputs.NPY, "A .npy file of numbers, one row per first index."),
        **dict.fromkeys(inputs.IMAGES, "One image of the network's size."),
    }
)


@router.post(
    "/{run_id}/predict",
    response_model=PredictAnswer,
    responses=refusals(400, 404, 409, 413, 415, 422),
    openapi_extra=_BODIES,
)
async def predict(
    request: Request,
    run_id: RunId,
    services: Given,
    shape: Annotated[
        str | None,
        Header(alias="X-Shape", description="Shape of a raw body, such as `32,64`."),
    ] = None,
) -> Response:
    """Answer rows in eval mode with exactly the running statistics of the run's checkpoint.

    Inputs are raw: the scaling fitted on the training rows is applied here. A row's answer does
    not depend on the other rows.
    """
    media_type = bodies.require_type(request, *inputs.MEDIA_TYPES)
    limit = services.settings.prediction_body_bytes
    stored = await services.database.aread(lambda c: _newest(c, run_id))
    with services.predictions.room(bodies.declared(request, limit)):
        body = await bodies.read(request, limit)
        answer = await services.predictions.answer(Sent(media_type, body, shape), stored)
    return Response(answer, media_type=JSON)


def _newest(connection: Connection, run_id: str) -> Checkpoint:
    run = runs.get(connection, run_id)
    if run.checkpoint_id is None:
        raise CheckpointNotReady(
            f"The run is {run.state.value} and has no checkpoint yet.", state=run.state.value
        )
    return checkpoints.get(connection, run.checkpoint_id)
