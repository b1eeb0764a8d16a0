"""Runs over HTTP: submit, read, list, pause, resume, cancel, delete."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from sqlalchemy import Connection

from api import openapi, queries, repeats, resources
from api.admission import Admitted
from api.bodies import JSON, StrictRoute
from api.checked import CheckedSpec, values_of
from api.openapi import refusals
from api.problems import Invalid
from api.resources import Listing, Resource, RunResource
from api.services import Given, Services
from api.validation import FieldError, shorten
from core import logs, runs
from core.errors import StoreUnavailable
from core.runs import Deleted, Filter, Run
from core.states import State
from model.spec import RunSpec, plain_text

router = APIRouter(prefix="/v1/runs", tags=["runs"], route_class=StrictRoute)
_log = logs.get(__name__)

RunId = Annotated[
    str, Path(description="`run_…`", json_schema_extra={"pattern": "^run_[0-9a-f]{32}$"})
]
Limit = Annotated[int, Query(ge=1, le=runs.MAX_PAGE, description="Items of one page.")]
After = Annotated[str | None, Query(description="`last_id` of the page before.")]
MAX_LABELS = 32
EXPERIMENT_ID = "^exp_[0-9a-f]{32}$"


class Validation(CheckedSpec):
    """What a submission would have become."""

    object: Literal["validation"] = "validation"


@router.post(
    "",
    status_code=202,
    response_model=RunResource,
    response_description="Accepted: the run, at `Location`.",
    responses={
        200: {"model": Validation, "description": "Only validated, with `validate_only=true`."},
        202: openapi.headers("Location", "Idempotent-Replay"),
        **refusals(400, 409, 413, 415, 422),
    },
)
async def submit(
    request: Request,
    spec: RunSpec,
    services: Given,
    key: repeats.Key = None,
    validate_only: Annotated[
        bool, Query(description="Check everything, queue nothing, answer 200.")
    ] = False,
) -> Response:
    """Queue a run. Once it is accepted, it is not lost."""
    asked = repeats.asked(request, key, repeats.hash_of(await request.json()))
    if validate_only:
        return _json(_validation(await services.admission.check(spec)), 200)
    submitted = await services.admission.submit(spec, asked)
    if not submitted.replayed:
        services.telemetry.accepted()
        await _hint(services, submitted.run)
    headers = repeats.headers(f"/v1/runs/{submitted.run.id}", replayed=submitted.replayed)
    return _json(resources.run(submitted.run), 202, headers)


def _json(body: Resource, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(body.model_dump_json(), status, headers, JSON)


def _validation(admitted: Admitted) -> Validation:
    return Validation.model_validate(values_of(admitted.checked))


async def _hint(services: Services, run: Run) -> None:
    services.hints.send(await services.admission.queue_of(run.device))


@router.get("", responses=refusals(400, 422), openapi_extra={"parameters": [queries.LABELS]})
async def list_runs(
    request: Request,
    services: Given,
    limit: Limit = 20,
    after: After = None,
    state: Annotated[State | None, Query(description="Only runs in this state.")] = None,
    experiment: Annotated[
        str | None, Query(pattern=EXPERIMENT_ID, description="Only runs of this experiment.")
    ] = None,
) -> Listing[RunResource]:
    """Runs, newest first. `label.<key>=<value>` filters by labels; all must match."""
    wanted = Filter(state, _labels(request), limit, after, experiment)
    page = await services.database.aread(lambda c: runs.page(c, wanted))
    return Listing[RunResource](
        data=[resources.run(run) for run in page.data],
        has_more=page.has_more,
        last_id=page.data[-1].id if page.data else None,
    )


def _labels(request: Request) -> dict[str, str]:
    pairs = request.query_params.multi_items()
    labels = {k.removeprefix("label."): v for k, v in pairs if k.startswith("label.")}
    if len(labels) > MAX_LABELS:
        raise Invalid(FieldError(path="label", message=f"at most {MAX_LABELS} labels"))
    for key, value in labels.items():
        try:
            plain_text(key + value)
        except ValueError as error:
            path = f"label.{shorten(key)}"
            raise Invalid(FieldError(path=path, message=str(error))) from None
    return labels


@router.get("/{run_id}", responses=refusals(404))
async def get_run(run_id: RunId, services: Given) -> RunResource:
    """One run."""
    return resources.run(await services.database.aread(lambda c: runs.get(c, run_id)))


@router.delete("/{run_id}", status_code=204, responses=refusals(404, 409))
async def delete_run(run_id: RunId, services: Given) -> None:
    """Delete an ended run with its events, metrics, checkpoints and files."""
    deleted = await services.database.awrite(lambda c: runs.delete(c, run_id))
    await asyncio.to_thread(_delete_files, services, deleted)


def _delete_files(services: Services, deleted: Deleted) -> None:
    """The records are gone already, so what cannot be deleted now is only left over."""
    try:
        services.files.delete_prefix(deleted.prefix)
        for key in deleted.keys:
            if not key.startswith(deleted.prefix):
                services.files.delete(key)
    except StoreUnavailable as error:
        _log.warning("files of a deleted run stay", run_id=deleted.run.id, error=error.message)


async def _move(services: Services, move: Callable[[Connection, str], Run], run_id: str) -> Run:
    return await services.database.awrite(lambda c: move(c, run_id))


@router.post("/{run_id}/pause", status_code=202, responses=refusals(404, 409))
async def pause_run(run_id: RunId, services: Given) -> RunResource:
    """Ask a run to stop where it stands. Repeating it is harmless."""
    return resources.run(await _move(services, runs.pause, run_id))


@router.post("/{run_id}/resume", status_code=202, responses=refusals(404, 409))
async def resume_run(run_id: RunId, services: Given) -> RunResource:
    """Let a paused run go on. Repeating it is harmless."""
    run = await _move(services, runs.resume, run_id)
    if run.state is State.QUEUED:
        await _hint(services, run)
    return resources.run(run)


@router.post("/{run_id}/cancel", status_code=202, responses=refusals(404, 409))
async def cancel_run(run_id: RunId, services: Given) -> RunResource:
    """End a run for good. Repeating it is harmless."""
    return resources.run(await _move(services, runs.cancel, run_id))
