"""Operations over HTTP: new statistics for a checkpoint are asked for, and waited for."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from api import bodies, diagnosis, openapi, recalibrations, repeats, resources, transplants
from api.bodies import JSON, StrictRoute
from api.openapi import refusals
from api.recalibration_request import RecalibrateRequest
from api.resources import Listing, Resource, RunError, Time
from api.routes.checkpoints import ID, CheckpointId
from api.routes.runs import After, Limit
from api.services import Given
from api.transplants import ReviseRequest
from core import checkpoints, operations
from core.operations import Operation, Submitted

router = APIRouter(prefix="/v1", tags=["operations"], route_class=StrictRoute)

OperationId = Annotated[
    str, Path(description="`op_…`", json_schema_extra={"pattern": "^op_[0-9a-f]{32}$"})
]
_ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: openapi.headers("Location", "Idempotent-Replay"),
    **refusals(400, 404, 409, 413, 415, 422),
}


class OperationResource(Resource):
    """Long work, on a checkpoint or on an experiment, which a worker does."""

    id: str = Field(description="`op_…`; ids ascend with time.")
    object: Literal["operation"] = "operation"
    kind: str = Field(description="`recalibrate`, `transplant` or `report`.")
    state: Literal["queued", "running", "succeeded", "failed"] = Field(
        description="Where it stands."
    )
    done: bool = Field(description="Whether it has ended.")
    progress: float = Field(description="Share of the work, 0 to 1.")
    checkpoint: str | None = Field(description="What it works on; null for a report.")
    experiment: str | None = Field(description="Whose report it makes; null for the others.")
    dataset: str | None = Field(description="Whose rows it reads; null where they were sent.")
    result: dict[str, Any] | None = Field(
        description="Once succeeded: `checkpoint`, the revision; its metrics `before` and `after`; "
        "how it was made; of a recalibration `curve`, the error of the statistics against rows. "
        "Of a report `experiment` and `verdict`."
    )
    error: RunError | None = Field(description="Why it failed, once failed.")
    created_at: Time = Field(description="When it was accepted.")
    started_at: Time | None = Field(description="When a worker began with it.")
    finished_at: Time | None = Field(description="When it ended.")


def resource(record: Operation) -> OperationResource:
    """An operation as its resource."""
    return OperationResource(
        id=record.id,
        kind=record.kind,
        state=record.state.value,
        done=record.ended,
        progress=record.progress,
        checkpoint=record.checkpoint_id,
        experiment=record.experiment_id,
        dataset=record.dataset_id,
        result=None if record.result is None else _result(record.result),
        error=None if record.error is None else RunError.model_validate(record.error),
        created_at=resources.time(record.created_at),
        started_at=resources.time_or_none(record.started_at),
        finished_at=resources.time_or_none(record.finished_at),
    )


def _result(result: dict[str, Any]) -> dict[str, Any]:
    """What a worker has told, with remedies that name the revision."""
    if "checkpoint" not in result:
        return result
    findings = diagnosis.addressed(result.get("findings", ()), result["checkpoint"])
    return result | {"findings": [vars(finding) for finding in findings]}


def _accepted(submitted: Submitted) -> Response:
    told = resource(submitted.operation)
    headers = repeats.headers(f"/v1/operations/{told.id}", replayed=submitted.replayed)
    return Response(told.model_dump_json(), 202, headers, JSON)


@router.post(
    "/checkpoints/{checkpoint_id}/recalibrate",
    status_code=202,
    response_model=OperationResource,
    response_description="Accepted: the operation, at `Location`.",
    responses=_ACCEPTED,
    openapi_extra=openapi.body({JSON: RecalibrateRequest}),
)
async def recalibrate(
    request: Request, checkpoint_id: CheckpointId, services: Given, key: repeats.Key = None
) -> Response:
    """Measure the running statistics anew, as a revision of the same weights.

    The checkpoint stays as it is. Rows may be those of a dataset, or sent along.
    """
    bodies.require_type(request, JSON)
    record = await services.database.aread(lambda c: checkpoints.get(c, checkpoint_id))
    limit = services.settings.prediction_body_bytes
    with services.predictions.room(bodies.declared(request, limit)):
        body = await bodies.read(request, limit)
        wanted = await recalibrations.decoded(services, record, body)
        asked = repeats.asked(request, key, wanted.hash)
        return _accepted(await recalibrations.submit(services, record, wanted, asked))


@router.post(
    "/checkpoints/{checkpoint_id}/revisions",
    status_code=202,
    response_model=OperationResource,
    response_description="Accepted: the operation, at `Location`.",
    responses=_ACCEPTED,
)
async def revise(
    request: Request,
    checkpoint_id: CheckpointId,
    body: ReviseRequest,
    services: Given,
    key: repeats.Key = None,
) -> Response:
    """Put the running statistics of another checkpoint on these weights, as a revision."""
    record = await services.database.aread(lambda c: checkpoints.get(c, checkpoint_id))
    asked = repeats.asked(request, key, repeats.hash_of(await request.json()))
    return _accepted(await transplants.submit(services, record, body, asked))


@router.get("/operations", responses=refusals(400, 422))
async def list_operations(
    services: Given,
    limit: Limit = 20,
    after: After = None,
    checkpoint: Annotated[
        str | None, Query(pattern=ID, description="Only operations on this checkpoint.")
    ] = None,
) -> Listing[OperationResource]:
    """Operations, newest first."""
    page = await services.database.aread(lambda c: operations.page(c, checkpoint, limit, after))
    return Listing[OperationResource](
        data=[resource(record) for record in page.data],
        has_more=page.has_more,
        last_id=page.data[-1].id if page.data else None,
    )


@router.get("/operations/{operation_id}", responses=refusals(404))
async def get_operation(operation_id: OperationId, services: Given) -> OperationResource:
    """One operation."""
    return resource(await services.database.aread(lambda c: operations.get(c, operation_id)))
