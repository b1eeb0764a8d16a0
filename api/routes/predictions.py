"""Predictions over HTTP: rows in any accepted form, answered by a run's checkpoint or a model."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from sqlalchemy import Connection

from api import bodies, openapi
from api.bodies import JSON
from api.openapi import refusals
from api.routes.models import ModelName
from api.routes.runs import RunId
from api.services import Given, Services
from api.serving import inputs
from api.serving.answers import PredictAnswer
from api.serving.inputs import PredictRequest, Sent
from api.serving.predictions import Subject
from core import checkpoints, models, revisions, runs
from core.checkpoints import Checkpoint
from core.errors import CheckpointNotReady

router = APIRouter(prefix="/v1", tags=["predictions"])

Shape = Annotated[
    str | None, Header(alias="X-Shape", description="Shape of a raw body, such as `32,64`.")
]
Revision = Annotated[
    str | None,
    Query(
        description="Answer with the running statistics of this revision of the checkpoint; "
        "a JSON body may name it instead."
    ),
]
Which = Annotated[str, Path(description="Number of a version, or an alias.")]

_BODIES = openapi.body(
    {
        JSON: PredictRequest,
        inputs.RAW: "float32, little-endian, row-major, with its shape in X-Shape; or a .npy file.",
        **dict.fromkeys(inputs.NPY, "A .npy file of numbers, one row per first index."),
        **dict.fromkeys(inputs.IMAGES, "One image of the network's size."),
    }
)
_ROUTE: dict[str, Any] = {"response_model": PredictAnswer, "openapi_extra": _BODIES}


@router.post("/runs/{run_id}/predict", responses=refusals(400, 404, 409, 413, 415, 422), **_ROUTE)
async def predict(
    request: Request, run_id: RunId, services: Given, shape: Shape = None, revision: Revision = None
) -> Response:
    """Answer rows in eval mode with exactly the running statistics of the run's checkpoint.

    Inputs are raw: the scaling fitted on the training rows is applied here. A row's answer does
    not depend on the other rows.
    """
    return await _answered(request, services, shape, lambda c: _of_run(c, run_id, revision))


@router.post("/models/{name}/predict", responses=refusals(400, 404, 413, 415, 422), **_ROUTE)
async def predict_with_model(
    request: Request,
    name: ModelName,
    services: Given,
    shape: Shape = None,
    revision: Revision = None,
) -> Response:
    """Answer rows with the newest version of a model, as a run's checkpoint answers them.

    What enters its norm layers is watched for drift, which never changes an answer.
    """
    return await _answered(request, services, shape, lambda c: _of_model(c, name, None, revision))


@router.post(
    "/models/{name}/versions/{version}/predict",
    responses=refusals(400, 404, 413, 415, 422),
    **_ROUTE,
)
async def predict_with_version(
    request: Request,
    name: ModelName,
    version: Which,
    services: Given,
    shape: Shape = None,
    revision: Revision = None,
) -> Response:
    """Answer rows with a version of a model, by its number or an alias."""
    return await _answered(
        request, services, shape, lambda c: _of_model(c, name, version, revision)
    )


async def _answered(
    request: Request,
    services: Services,
    shape: str | None,
    find: Callable[[Connection], Subject],
) -> Response:
    media_type = bodies.require_type(request, *inputs.MEDIA_TYPES)
    limit = services.settings.prediction_body_bytes
    subject = await services.database.aread(find)
    with services.predictions.room(bodies.declared(request, limit)):
        body = await bodies.read(request, limit)
        answer = await services.predictions.answer(Sent(media_type, body, shape), subject)
    return Response(answer, media_type=JSON)


def _of_run(connection: Connection, run_id: str, revision: str | None) -> Subject:
    run = runs.get(connection, run_id)
    if run.checkpoint_id is None:
        raise CheckpointNotReady(
            f"The run is {run.state.value} and has no checkpoint yet.", state=run.state.value
        )
    return Subject(_stored(connection, run.checkpoint_id, revision), revision=revision)


def _of_model(
    connection: Connection, name: str, which: str | None, revision: str | None
) -> Subject:
    version = models.resolve(connection, name, which)
    stored = _stored(connection, version.checkpoint_id, revision)
    return Subject(stored, version, revision)


def _stored(connection: Connection, checkpoint_id: str, revision: str | None) -> Checkpoint:
    if revision is None:
        return checkpoints.get(connection, checkpoint_id)
    return revisions.named(connection, checkpoint_id, revision)
