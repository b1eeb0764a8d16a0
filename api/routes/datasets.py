"""Datasets over HTTP: upload, list, read, delete."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, Field

from api import openapi, repeats, resources, uploads
from api.bodies import JSON, StrictRoute
from api.intake import PARTS, Wanted
from api.openapi import refusals
from api.resources import FindingResource, Listing, Resource, Time
from api.routes.runs import After, Limit
from api.services import Given
from core import datasets, logs
from core.datasets import Dataset
from core.errors import StoreUnavailable
from model.data import readers
from model.data.text_file import MOST_CONTEXT
from model.spec import DATASET_NAME, plain_text

router = APIRouter(prefix="/v1/datasets", tags=["datasets"], route_class=StrictRoute)
_log = logs.get(__name__)

DatasetId = Annotated[str, Path(description="`ds_…`, or the name of the newest dataset.")]
_BINARY = {"type": "string", "format": "binary"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            uploads.MULTIPART: {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": _BINARY
                        | {"description": "The file, or the images of an IDX pair."},
                        "targets": _BINARY | {"description": "IDX: the labels."},
                        "test_file": _BINARY | {"description": "IDX: images of the test split."},
                        "test_targets": _BINARY | {"description": "IDX: labels of the test split."},
                    },
                }
            }
        },
    }
}


class UploadQuery(BaseModel):
    """What the client says of its upload."""

    name: str = Field(pattern=DATASET_NAME, description="What specs will call it.")
    format: str = Field(
        description="What the file is; 415 for anything else.",
        json_schema_extra={"enum": list(readers.FORMATS)},
    )
    target: Annotated[str, AfterValidator(plain_text)] | None = Field(
        None, max_length=200, description="CSV and Parquet: the column of the targets."
    )
    context: Annotated[int, Field(ge=1, le=MOST_CONTEXT)] | None = Field(
        None, description="Text: characters before the one that is the target; null: 3."
    )


class Splits(Resource):
    """The dataset's own split; a run's spec decides where there is none."""

    train: int | None = Field(description="Rows that train; null: the spec decides.")
    test: int | None = Field(description="Rows that test; null: the spec decides.")


class DatasetResource(Resource):
    """Rows with targets."""

    id: str = Field(description="`ds_…`.")
    object: Literal["dataset"] = "dataset"
    name: str = Field(description="What specs call it; the newest of a name counts.")
    format: str = Field(description="Of the upload; built_in for those that are always there.")
    rows: int = Field(description="All rows.")
    input_shape: list[int] = Field(description="Axes of one row.")
    classes: list[str] | None = Field(description="Names by index; null for numbers.")
    outputs: int = Field(description="Classes, or numbers per row.")
    task: Literal["classification", "regression"] = Field(description="What the targets are.")
    images: bool = Field(description="Whether inputs are pixels, divided by 255 first.")
    fingerprint: str = Field(description="sha256 over content and all of the above.")
    splits: Splits = Field(description="Its own split.")
    findings: list[FindingResource] = Field(description="What its owner should know of the rows.")
    bytes: int = Field(description="As stored.")
    built_in: bool = Field(description="Whether it is always there.")
    created_at: Time = Field(description="When it was recorded.")


def resource(record: Dataset) -> DatasetResource:
    """A dataset as its resource."""
    facts = record.facts
    return DatasetResource(
        id=record.id,
        name=record.name,
        format=record.format,
        rows=facts.rows,
        input_shape=list(facts.input_shape),
        classes=None if facts.classes is None else list(facts.classes),
        outputs=facts.outputs,
        task=facts.task,
        images=facts.images,
        fingerprint=facts.fingerprint,
        splits=Splits(train=facts.train_rows, test=facts.test_rows),
        findings=[FindingResource(**finding) for finding in record.findings or ()],
        bytes=record.bytes,
        built_in=record.built_in,
        created_at=resources.time(record.created_at),
    )


@router.post(
    "",
    status_code=201,
    response_model=DatasetResource,
    response_description="Created: the dataset, at `Location`.",
    responses={
        201: openapi.headers("Location", "Idempotent-Replay"),
        **refusals(400, 409, 413, 415, 422),
    },
    openapi_extra=_BODY,
)
async def upload(
    request: Request,
    services: Given,
    asked: Annotated[UploadQuery, Query()],
    key: repeats.Key = None,
) -> Response:
    """Upload a dataset. A file that cannot be read leaves nothing behind."""
    wanted = Wanted(asked.name, asked.format, asked.target, asked.context)
    services.intake.require_known(wanted)
    await services.admission.require_disk()
    scratch, limit = services.files.scratch(), services.settings.upload_body_bytes
    async with uploads.receive(request, scratch, PARTS, limit) as received:
        repeat = repeats.asked(request, key, wanted.hash_with(received))
        accepted = await services.intake.accept(wanted, received, repeat)
    body = resource(accepted.dataset).model_dump_json()
    location = f"/v1/datasets/{accepted.dataset.id}"
    headers = repeats.headers(location, replayed=accepted.replayed)
    return Response(body, 201, headers, JSON)


@router.get("", responses=refusals(400, 422))
async def list_datasets(
    services: Given, limit: Limit = 20, after: After = None
) -> Listing[DatasetResource]:
    """All datasets, the built-in ones included, newest first."""
    page = await services.database.aread(lambda c: datasets.page(c, limit, after))
    return Listing[DatasetResource](
        data=[resource(record) for record in page.data],
        has_more=page.has_more,
        last_id=page.data[-1].id if page.data else None,
    )


@router.get("/{dataset_id}", responses=refusals(404))
async def get_dataset(dataset_id: DatasetId, services: Given) -> DatasetResource:
    """One dataset."""
    return resource(await services.database.aread(lambda c: datasets.get(c, dataset_id)))


@router.delete("/{dataset_id}", status_code=204, responses=refusals(404, 409))
async def delete_dataset(dataset_id: DatasetId, services: Given) -> None:
    """Delete an uploaded dataset that no unfinished run reads, with its files."""
    deleted = await services.database.awrite(lambda c: datasets.delete(c, dataset_id))
    try:
        await asyncio.to_thread(services.files.delete_prefix, deleted.prefix)
    except StoreUnavailable as error:
        _log.warning("files of a deleted dataset stay", prefix=deleted.prefix, error=error.message)
