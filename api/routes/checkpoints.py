"""Checkpoints over HTTP: list, read, download, delete."""

import asyncio
import hashlib
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import ConfigDict, Field
from sqlalchemy import Connection

from api import diagnosis, downloads, openapi, resources
from api.bodies import StrictRoute
from api.exports import Format
from api.openapi import refusals
from api.resources import FindingResource, Listing, Resource, Spec, Time
from api.routes.runs import After, Limit, RunId
from api.services import Given, Services
from api.stored import content
from core import checkpoints, logs, revisions, runs
from core.checkpoints import Checkpoint, Page
from core.errors import StoreUnavailable

router = APIRouter(prefix="/v1", tags=["checkpoints"], route_class=StrictRoute)
_log = logs.get(__name__)

ID = "^ckpt_[0-9a-f]{32}$"
CheckpointId = Annotated[str, Path(description="`ckpt_…`", json_schema_extra={"pattern": ID})]
_FILE: dict[str, Any] = {
    **openapi.headers("ETag", "Accept-Ranges"),
    "description": "The safetensors file; its ETag is the sha256.",
    "content": {downloads.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
}
_DOWNLOAD: dict[int | str, dict[str, Any]] = {
    200: _FILE,
    206: _FILE
    | {"description": "The range that was asked for."}
    | openapi.headers("ETag", "Accept-Ranges", "Content-Range"),
    304: {"description": "If-None-Match names this file."} | openapi.headers("ETag"),
    **refusals(404, 416),
}
_EXPORT: dict[int | str, dict[str, Any]] = {
    200: {
        **openapi.headers("ETag", "Largest-Difference"),
        "description": "The exported file; its ETag is the sha256.",
        "content": {downloads.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    },
    **refusals(404, 422),
}
_IF_NONE_MATCH = {"If-None-Match": "ETags that the client has; one of them is answered 304."}
_CONDITIONS = _IF_NONE_MATCH | {
    "Range": "One range of bytes, as `bytes=0-99`; an odd one is ignored.",
    "If-Range": "Answer the range only while this is the file's ETag.",
}


class Statistics(Resource):
    """The running statistics in a checkpoint."""

    fingerprint: str = Field(description="sha256 over their names, types, shapes and bytes.")
    layers: int = Field(description="Norm layers that have some.")


class CheckpointResource(Resource):
    """Weights with their running statistics."""

    model_config = ConfigDict(populate_by_name=True)

    id: str = Field(description="`ckpt_…`; ids ascend with time.")
    object: Literal["checkpoint"] = "checkpoint"
    run: str | None = Field(description="The run that trained it; null: trained elsewhere.")
    step: int = Field(description="Optimizer steps done.")
    metrics: dict[str, Any] = Field(
        description="Scored in eval mode from the saved file, loaded again."
    )
    sha256: str = Field(description="Of the file, in hex.")
    bytes: int = Field(description="Of the file.")
    statistics: Statistics = Field(description="Its running statistics.")
    findings: list[FindingResource] = Field(
        description="What was found of its statistics when it was made."
    )
    revision_of: str | None = Field(description="The checkpoint whose weights these are.")
    name: str | None = Field(description="Of a revision, among those of its weights.")
    made_by: dict[str, Any] | None = Field(
        description="How the statistics of a revision came about: method, rows, seed."
    )
    import_report: dict[str, Any] | None = Field(
        alias="import", description="What was done to the tensors of an import, name by name."
    )
    spec: Spec = Field(description="What was trained.")
    created_at: Time = Field(description="When it was recorded.")


def resource(record: Checkpoint) -> CheckpointResource:
    """A checkpoint as its resource."""
    return CheckpointResource(
        id=record.id,
        run=record.run_id,
        step=record.step,
        metrics=record.metrics,
        sha256=record.sha256,
        bytes=record.bytes,
        statistics=Statistics(fingerprint=record.fingerprint, layers=record.norm_layers),
        findings=[FindingResource(**vars(one)) for one in diagnosis.of_record(record)],
        revision_of=record.revision_of,
        name=record.name,
        made_by=record.made_by if record.revision_of else None,
        import_report=None if record.revision_of else record.made_by,
        spec=record.spec,
        created_at=resources.time(record.created_at),
    )


def _listing(page: Page) -> Listing[CheckpointResource]:
    return Listing[CheckpointResource](
        data=[resource(record) for record in page.data],
        has_more=page.has_more,
        last_id=page.data[-1].id if page.data else None,
    )


@router.get("/runs/{run_id}/checkpoints", responses=refusals(400, 404, 422))
async def list_checkpoints(
    run_id: RunId, services: Given, limit: Limit = 20, after: After = None
) -> Listing[CheckpointResource]:
    """The checkpoints of a run that its spec asked for, and their revisions, newest first."""

    def read(connection: Connection) -> Page:
        runs.get(connection, run_id)
        return checkpoints.page(connection, run_id, limit, after)

    return _listing(await services.database.aread(read))


@router.get("/checkpoints/{checkpoint_id}", responses=refusals(404))
async def get_checkpoint(checkpoint_id: CheckpointId, services: Given) -> CheckpointResource:
    """One checkpoint."""
    return resource(await services.database.aread(lambda c: checkpoints.get(c, checkpoint_id)))


@router.delete("/checkpoints/{checkpoint_id}", status_code=204, responses=refusals(404, 409))
async def delete_checkpoint(checkpoint_id: CheckpointId, services: Given) -> None:
    """Delete a revision, or an import with its revisions, and their files.

    What a run trained goes with the run; what a model serves or an operation works on stays.
    """
    keys = await services.database.awrite(lambda c: revisions.delete(c, checkpoint_id))
    await asyncio.to_thread(_delete_files, services, keys)


def _delete_files(services: Services, keys: frozenset[str]) -> None:
    """The records are gone already, so what cannot be deleted now is only left over."""
    try:
        for key in keys:
            services.files.delete(key)
    except StoreUnavailable as error:
        _log.warning("files of a deleted checkpoint stay", keys=[*keys], error=error.message)


@router.get("/checkpoints/{checkpoint_id}/revisions", responses=refusals(400, 404, 422))
async def list_revisions(
    checkpoint_id: CheckpointId, services: Given, limit: Limit = 20, after: After = None
) -> Listing[CheckpointResource]:
    """Every revision of the same weights, newest first; the original is none of them."""
    read = partial(revisions.page, checkpoint_id=checkpoint_id, limit=limit, after=after)
    return _listing(await services.database.aread(read))


@router.get(
    "/checkpoints/{checkpoint_id}/download",
    response_class=Response,
    responses=_DOWNLOAD,
    openapi_extra=openapi.asks_with(_CONDITIONS),
)
async def download(request: Request, checkpoint_id: CheckpointId, services: Given) -> Response:
    """The safetensors file, or one byte range of it."""
    record = await services.database.aread(lambda c: checkpoints.get(c, checkpoint_id))
    find = partial(content, services.files, record)
    return await downloads.send(request, record.sha256, find, f"{record.id}.safetensors")


router.head(
    "/checkpoints/{checkpoint_id}/download",
    name="download_head",
    response_class=Response,
    responses={200: _FILE, 304: _DOWNLOAD[304], **refusals(404)},
    openapi_extra=openapi.asks_with(_IF_NONE_MATCH),
)(download)


@router.get("/checkpoints/{checkpoint_id}/export", response_class=Response, responses=_EXPORT)
async def export(
    checkpoint_id: CheckpointId,
    services: Given,
    format: Annotated[
        Format,
        Query(
            description="`onnx` takes raw rows, the scaling is inside; `safetensors_folded` is "
            "the state dict with each batch norm put into the layer before it."
        ),
    ],
) -> Response:
    """The network in another form, compared with its eval mode before it is sent.

    Where the answers are too far apart nothing is sent, and the refusal has the numbers.
    """
    record = await services.database.aread(lambda c: checkpoints.get(c, checkpoint_id))
    exported = await services.exports.make(record, format)
    ending = "onnx" if format == "onnx" else "folded.safetensors"
    headers = {
        "ETag": f'"{hashlib.sha256(exported.content).hexdigest()}"',
        "Content-Disposition": f'attachment; filename="{record.id}.{ending}"',
        "Largest-Difference": str(exported.comparison.difference),
    }
    return Response(exported.content, 200, headers, downloads.MEDIA_TYPE)
