"""What the measures of a run have found, over HTTP."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field
from sqlalchemy import Connection

from api.bodies import JSON, StrictRoute
from api.openapi import refusals
from api.problems import Invalid
from api.resources import Resource
from api.routes.runs import RunId
from api.services import Given
from api.validation import FieldError
from core import measurements, runs
from core.measurements import MAX_POINTS, Measurements, Wanted
from model.measures.catalogue import CATALOGUE

router = APIRouter(prefix="/v1/runs", tags=["runs"], route_class=StrictRoute)

MAX_PROBES = 10_000
MAX_BYTES = 2**25  # of JSON in one answer


class MeasurementSeries(Resource):
    """What one measure found over the steps of a run."""

    steps: list[int] = Field(description="Optimizer steps done, ascending.")
    values: list[dict[str, Any]] = Field(
        description="One object per step, its fields those of the measure; null where a number is "
        "not finite."
    )
    sampled: bool = Field(description="Whether probes were left out to keep to max_points.")
    of: int = Field(description="How many probes there are.")


class RunMeasurements(Resource):
    """What the measures of a run found."""

    object: Literal["measurements"] = "measurements"
    series: dict[str, MeasurementSeries] = Field(
        description="By kind of measure; one without a probe yet is absent."
    )


@router.get("/{run_id}/measurements", response_model=RunMeasurements, responses=refusals(404, 422))
async def read_measurements(
    run_id: RunId,
    services: Given,
    kinds: Annotated[
        str | None,
        Query(max_length=2_000, description="Measures with commas between; default all."),
    ] = None,
    from_step: Annotated[int, Query(ge=0, le=2**53, description="First step wanted.")] = 0,
    max_points: Annotated[
        int, Query(ge=2, le=MAX_PROBES, description="Most probes of one measure.")
    ] = MAX_POINTS,
) -> Response:
    """Everything that measures found; one with more probes than `max_points` is sampled.

    Their numbers in brief are metrics of the run, too. An answer of more than 32 MiB is refused:
    ask for fewer measures or probes.
    """
    wanted = Wanted(run_id, _kinds(kinds), from_step, max_points)

    def read(connection: Connection) -> str:
        runs.get(connection, run_id)
        size = measurements.bytes_of(connection, wanted)
        if size > MAX_BYTES:
            message = f"that would be {size} bytes of at most {MAX_BYTES}: ask for fewer"
            raise Invalid(FieldError(path="max_points", message=message))
        return _body(measurements.read(connection, wanted))

    return Response(await services.database.aread(read), media_type=JSON)


def _body(found: dict[str, Measurements]) -> str:
    """The answer as text, made where the rows are read: it may be long."""
    series = {kind: MeasurementSeries.model_construct(**vars(one)) for kind, one in found.items()}
    return RunMeasurements.model_construct(series=series).model_dump_json()


def _kinds(given: str | None) -> list[str] | None:
    if given is None:
        return None
    kinds = given.split(",")
    if not set(kinds) <= CATALOGUE.keys():
        raise Invalid(FieldError(path="kinds", message=f"known are {', '.join(CATALOGUE)}"))
    return kinds
