"""Experiments over HTTP: ask, follow, read the report, cancel, delete."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection
from starlette.convertors import Convertor, register_url_convertor

from api import experiment_resources, experiments, openapi, repeats, report_files
from api.bodies import JSON, StrictRoute
from api.experiment_request import ExperimentRequest
from api.experiment_resources import (
    ExperimentResource,
    ExperimentValidation,
    KindResource,
    ReportResource,
)
from api.openapi import refusals
from api.resources import Listing, Resource
from api.routes.runs import After, Limit
from api.services import Given, Services
from core import experiments as records
from core import logs, operations
from core.errors import StoreUnavailable
from core.experiments import Experiment
from core.states import State


class _OneOf(Convertor[str]):
    """What stands for an experiment's id: anything but the word that has a route of its own."""

    regex = "(?!kinds$)[^/]+"

    def convert(self, value: str) -> str:
        """The id as it stands."""
        return value

    def to_string(self, value: str) -> str:
        """The id as it stands."""
        return value


register_url_convertor("experiment", _OneOf())
router = APIRouter(prefix="/v1/experiments", tags=["experiments"], route_class=StrictRoute)
_log = logs.get(__name__)

ExperimentId = Annotated[
    str, Path(description="`exp_…`", json_schema_extra={"pattern": "^exp_[0-9a-f]{32}$"})
]
Named = Annotated[str, Path(pattern="^[a-z0-9-]{1,64}$", description="As the report names it.")]
_STATES = Literal["queued", "running", "succeeded", "failed", "cancelled"]
_REFUSED = refusals(404, 409)
_UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "`If-None-Match` names it.", **openapi.headers("ETag")}
}
_CONDITION = {"If-None-Match": "The ETag of what is known: 304 where it is that."}


def _file(*media_types: str) -> dict[int | str, dict[str, Any]]:
    content = {one: {"schema": {"type": "string"}} for one in media_types}
    sent = {"description": "The file.", "content": content, **openapi.headers("ETag")}
    return {200: sent, **_UNCHANGED, **_REFUSED}


@router.get("/kinds", responses=refusals())
async def list_kinds() -> Listing[KindResource]:
    """Every kind of experiment: what it claims, where the claim is made, and what it can be told.

    All of them on one page.
    """
    found = experiment_resources.kinds()
    return Listing[KindResource](data=found, has_more=False, last_id=found[-1].kind)


@router.post(
    "",
    status_code=202,
    response_model=ExperimentResource,
    response_description="Accepted: the experiment, at `Location`.",
    responses={
        200: {
            "model": ExperimentValidation,
            "description": "Only validated, with `validate_only=true`.",
        },
        202: openapi.headers("Location", "Idempotent-Replay"),
        **refusals(400, 409, 413, 415, 422),
    },
)
async def submit_experiment(
    request: Request,
    body: ExperimentRequest,
    services: Given,
    key: repeats.Key = None,
    validate_only: Annotated[
        bool, Query(description="Check everything, queue nothing, answer 200.")
    ] = False,
) -> Response:
    """Queue all runs of an experiment. When the last one has ended, its report is made.

    The runs are ordinary ones: they can be watched, paused, resumed and cancelled.
    """
    asked = repeats.asked(request, key, repeats.hash_of(await request.json()))
    if validate_only:
        checked = await experiments.check(services, body)
        return _json(experiment_resources.validation(checked), 200)
    submitted = await experiments.submit(services, body, asked)
    told = await _told(services, submitted.experiment.id)
    headers = repeats.headers(f"/v1/experiments/{told.id}", replayed=submitted.replayed)
    return _json(told, 202, headers)


def _json(body: Resource, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(body.model_dump_json(), status, headers, JSON)


@router.get("", responses=refusals(400, 422))
async def list_experiments(
    services: Given,
    limit: Limit = 20,
    after: After = None,
    state: Annotated[_STATES | None, Query(description="Only experiments in this state.")] = None,
) -> Listing[ExperimentResource]:
    """Experiments, newest first."""
    wanted = None if state is None else State(state)

    def read(connection: Connection) -> Listing[ExperimentResource]:
        page = records.page(connection, wanted, limit, after)
        return Listing[ExperimentResource](
            data=_resources(connection, page.data),
            has_more=page.has_more,
            last_id=page.data[-1].id if page.data else None,
        )

    return await services.database.aread(read)


@router.get("/{experiment_id:experiment}", responses=refusals(404))
async def get_experiment(experiment_id: ExperimentId, services: Given) -> ExperimentResource:
    """One experiment: how far its runs are, and its report in brief once that is there."""
    return await _told(services, experiment_id)


async def _told(services: Services, experiment_id: str) -> ExperimentResource:
    def read(connection: Connection) -> ExperimentResource:
        return _resources(connection, [records.get(connection, experiment_id)])[0]

    return await services.database.aread(read)


def _resources(connection: Connection, found: list[Experiment]) -> list[ExperimentResource]:
    standings = records.standings(connection, found)
    reporting = operations.of_experiments(connection, [one.id for one in found])
    return [experiment_resources.resource(one, standings, reporting) for one in found]


@router.post("/{experiment_id}/cancel", status_code=202, responses=_REFUSED)
async def cancel_experiment(experiment_id: ExperimentId, services: Given) -> ExperimentResource:
    """End an experiment and all of its runs that go on. No report is made. Repeating is harmless.

    The experiment is cancelled at once; a run that is being trained is `stopping` first.
    """
    await services.database.awrite(lambda c: records.cancel(c, experiment_id))
    return await _told(services, experiment_id)


@router.delete("/{experiment_id:experiment}", status_code=204, responses=_REFUSED)
async def delete_experiment(experiment_id: ExperimentId, services: Given) -> None:
    """Delete an ended experiment with its report. Its runs stay, as runs of their own."""
    deleted = await services.database.awrite(lambda c: records.delete(c, experiment_id))
    await asyncio.to_thread(_delete_files, services, deleted)


def _delete_files(services: Services, deleted: Experiment) -> None:
    """The record is gone already, so what cannot be deleted now is only left over."""
    try:
        services.files.delete_prefix(f"{records.FOLDER}/{deleted.id}/")
    except StoreUnavailable as error:
        _log.warning("files of a deleted experiment stay", id=deleted.id, error=error.message)


@router.get(
    "/{experiment_id}/report",
    response_class=Response,
    responses=_file() | {200: {"model": ReportResource, **openapi.headers("ETag")}},
    openapi_extra=openapi.asks_with(_CONDITION),
)
async def get_report(request: Request, experiment_id: ExperimentId, services: Given) -> Response:
    """The whole report: verdict, effect with its interval, tables, figures, specs.

    409 while it is not there, with the experiment's state.
    """
    return await _part(request, services, experiment_id, report_files.REPORT)


@router.get(
    "/{experiment_id}/report.html",
    response_class=Response,
    responses=_file("text/html"),
    openapi_extra=openapi.asks_with(_CONDITION),
)
async def get_report_page(
    request: Request, experiment_id: ExperimentId, services: Given
) -> Response:
    """The report as one self-contained page, which needs no network."""
    return await _part(request, services, experiment_id, report_files.PAGE)


@router.get(
    "/{experiment_id}/figures/{figure}.{form}",
    response_class=Response,
    responses=_file(*("image/svg+xml", "image/png", "application/json", "text/csv"))
    | refusals(422),
    openapi_extra=openapi.asks_with(_CONDITION),
)
async def get_figure(
    request: Request,
    experiment_id: ExperimentId,
    figure: Named,
    form: Annotated[
        Literal["svg", "png", "json", "csv"], Path(description="`json` and `csv` are its data.")
    ],
    services: Given,
) -> Response:
    """One figure of the report, drawn or as data."""
    return await _part(request, services, experiment_id, report_files.figure(figure, form))


@router.get(
    "/{experiment_id}/tables/{table}.csv",
    response_class=Response,
    responses=_file("text/csv") | refusals(422),
    openapi_extra=openapi.asks_with(_CONDITION),
)
async def get_table(
    request: Request, experiment_id: ExperimentId, table: Named, services: Given
) -> Response:
    """One table of the report as CSV."""
    return await _part(request, services, experiment_id, report_files.table(table))


async def _part(
    request: Request, services: Services, experiment_id: str, part: report_files.Part
) -> Response:
    record = await services.database.aread(lambda c: records.get(c, experiment_id))
    return await report_files.send(request, services, record, part)
