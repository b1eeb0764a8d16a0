"""Models over HTTP: names under which checkpoints are served, with versions and aliases."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response
from pydantic import Field
from sqlalchemy import Connection

from api import openapi, publishing, resources
from api.bodies import JSON, StrictRoute
from api.openapi import refusals
from api.problems import Invalid
from api.resources import FindingResource, Listing, Resource, Time
from api.routes.checkpoints import ID
from api.routes.runs import After, Limit
from api.services import Given, Services
from api.validation import FieldError
from core import models
from core.ids import NAME
from core.models import ALIAS, Model
from model.spec import Part

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=StrictRoute)

_NAMED = "Name of the model."
ModelName = Annotated[str, Path(description=_NAMED, json_schema_extra={"pattern": f"^{NAME}$"})]
NewName = Annotated[str, Path(description=_NAMED, pattern=f"^{NAME}$")]
Alias = Annotated[
    str, Path(description="A name that is no number.", json_schema_extra={"pattern": f"^{ALIAS}$"})
]


class PutModelRequest(Part):
    """What the newest version of a model is to be."""

    checkpoint: Annotated[str, Field(pattern=ID)] = Field(
        description="An original or a revision; its diagnosis must have no error."
    )


class PutAliasRequest(Part):
    """What an alias is to name."""

    version: Annotated[int, Field(ge=1, lt=10**9)] = Field(description="Number of a version.")


class VersionResource(Resource):
    """One checkpoint under a model's name."""

    version: int = Field(description="From 1; no number is given out twice.")
    checkpoint: str = Field(description="`ckpt_…`")
    created_at: Time = Field(description="When it was published.")


class Serving(Resource):
    """In which form this process has a network in memory."""

    folded: bool | None = Field(
        description="Whether batch norm is part of the layers before it; null where none could be."
    )
    largest_difference: float | None = Field(
        description="Of the logits from those of the network as trained, as a share of the largest."
    )
    refusal: str | None = Field(description="Why it answers as trained, where it need not.")


class ModelResource(Resource):
    """A name under which checkpoints are served."""

    id: str = Field(description="The name.")
    object: Literal["model"] = "model"
    name: str = Field(description="What requests call it.")
    version: int = Field(description="The newest, which the name alone means.")
    checkpoint: str = Field(description="Of the newest version.")
    versions: list[VersionResource] = Field(description="Newest first.")
    aliases: dict[str, int] = Field(description="Versions by the words that name them.")
    findings: list[FindingResource] = Field(
        description="About the newest version's statistics when it was published."
    )
    serving: Serving | None = Field(
        description="The newest version; null while this process has not answered with it."
    )
    created_at: Time = Field(description="When its first version was published.")


def resource(services: Services, record: Model) -> ModelResource:
    """A model as its resource."""
    newest = record.newest
    form = services.predictions.form(newest.checkpoint_id)
    return ModelResource(
        id=record.name,
        name=record.name,
        version=newest.version,
        checkpoint=newest.checkpoint_id,
        versions=[
            VersionResource(
                version=one.version,
                checkpoint=one.checkpoint_id,
                created_at=resources.time(one.created_at),
            )
            for one in record.versions
        ],
        aliases=record.aliases,
        findings=[FindingResource(**finding) for finding in record.findings],
        serving=None if form is None else Serving.model_validate(vars(form)),
        created_at=resources.time(record.created_at),
    )


_PUT: dict[int | str, dict[str, Any]] = {
    200: {"model": ModelResource, "description": "It was the newest version already."},
    201: openapi.headers("Location"),
    **refusals(400, 404, 409, 413, 415, 422),
}


@router.put(
    "/{name}",
    status_code=201,
    response_model=ModelResource,
    response_description="Created: a new version, of the model at `Location`.",
    responses=_PUT,
)
async def put_model(name: NewName, body: PutModelRequest, services: Given) -> Response:
    """Serve a checkpoint under a name, as its newest version.

    It is diagnosed first: an error refuses it with 409, and `reason` is the error's. Warnings
    are in `findings`. Repeating a request changes nothing.
    """
    published = await publishing.publish(services, name, body.checkpoint)
    told = resource(services, published.model).model_dump_json()
    if not published.created:
        return Response(told, 200, media_type=JSON)
    return Response(told, 201, {"Location": f"/v1/models/{name}"}, JSON)


@router.get("", responses=refusals(400, 422))
async def list_models(
    services: Given, limit: Limit = 20, after: After = None
) -> Listing[ModelResource]:
    """Models, newest first."""
    page = await services.database.aread(lambda c: models.page(c, limit, after))
    return Listing[ModelResource](
        data=[resource(services, record) for record in page.data],
        has_more=page.has_more,
        last_id=page.data[-1].name if page.data else None,
    )


@router.get("/{name}", responses=refusals(404))
async def get_model(name: ModelName, services: Given) -> ModelResource:
    """One model."""
    return resource(services, await services.database.aread(lambda c: models.get(c, name)))


@router.delete("/{name}", status_code=204, responses=refusals(404))
async def delete_model(name: ModelName, services: Given) -> None:
    """Delete a model with its versions and aliases; its checkpoints stay."""
    await services.database.awrite(lambda c: models.remove(c, name))
    services.windows.forget(name)


@router.put("/{name}/aliases/{alias}", responses=refusals(400, 404, 413, 415, 422))
async def put_alias(
    name: ModelName, alias: Alias, body: PutAliasRequest, services: Given
) -> ModelResource:
    """Let an alias name a version, whatever it named before."""

    def put(connection: Connection) -> Model:
        return models.put_alias(connection, name, alias, body.version)

    try:
        return resource(services, await services.database.awrite(put))
    except ValueError as error:
        raise Invalid(FieldError(path="alias", message=str(error))) from None


@router.delete("/{name}/aliases/{alias}", status_code=204, responses=refusals(404))
async def delete_alias(name: ModelName, alias: Alias, services: Given) -> None:
    """Let an alias name nothing."""
    await services.database.awrite(lambda c: models.delete_alias(c, name, alias))
