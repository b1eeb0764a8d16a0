"""What an experiment may ask for: from a body to a kind, its params and the runs that it plans.

It asks for no record and no file; what is here decides in `api.experiments`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, Strict, ValidationError, WithJsonSchema

from api.problems import Invalid
from api.validation import FieldError, field_errors
from model.errors import SpecRefused
from model.lab.catalogue import EXPERIMENTS
from model.lab.experiment import MOST_RUNS, MOST_SEEDS, Experiment, Params, PlannedRun
from model.spec import MAX_SEED, Part
from model.spec.parts import at_most

SEEDS = (0, 1, 2)


def _known(kind: str) -> str:
    if kind not in EXPERIMENTS:
        raise ValueError(f"must be one of {', '.join(sorted(EXPERIMENTS))}")
    return kind


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("every seed may be there once")
    return seeds


class ExperimentRequest(Part):
    """Which experiment, with which params, on which seeds."""

    kind: Annotated[
        str,
        AfterValidator(_known),
        WithJsonSchema({"type": "string", "enum": sorted(EXPERIMENTS)}),
    ] = Field(description="See GET /v1/experiments/kinds.")
    params: dict[str, Any] = Field(
        {}, description="Those of the kind; what is left out is filled in."
    )
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...],
        Strict(False),
        at_most(MOST_SEEDS),
        AfterValidator(_distinct),
    ] = Field(
        SEEDS,
        min_length=1,
        max_length=MOST_SEEDS,
        description="Every arm is trained once on each; an interval needs two.",
        json_schema_extra={"uniqueItems": True},
    )


@dataclass(frozen=True)
class Wanted:
    """A request that its kind allows."""

    experiment: Experiment
    params: Params
    seeds: Sequence[int]
    plan: Sequence[PlannedRun]


def wanted(request: ExperimentRequest) -> Wanted:
    """What a request plans. May take a second where it plans many runs.

    Raises:
        Invalid: params that the kind does not have, or not so; or too many runs.
        SpecRefused: params that do not fit each other.
    """
    experiment = EXPERIMENTS[request.kind]
    params = _params(experiment, request.params)
    try:
        plan = experiment.plan(params, request.seeds)
    except SpecRefused as error:
        raise _refused(f"params.{error.path}", error.message, error) from None
    except ValidationError as error:  # a spec that the params make is none
        first = error.errors(include_url=False)[0]
        path = in_params(".".join(map(str, first["loc"])), params)
        message = str(first["msg"]).removeprefix("Value error, ")
        raise Invalid(FieldError(path=path, message=message)) from None
    if len(plan) > MOST_RUNS:
        message = f"that makes {len(plan)} runs; an experiment has at most {MOST_RUNS}"
        raise Invalid(FieldError(path="params", message=message))
    return Wanted(experiment, params, request.seeds, plan)


def of_run(error: SpecRefused, planned: PlannedRun, params: Params) -> SpecRefused:
    """The refusal of a planned run, under the param that it comes from."""
    message = f"{planned.arm}, seed {planned.seed}: {error.message}"
    return _refused(in_params(error.path, params), message, error)


def in_params(path: str, params: Params) -> str:
    """Where a field of a run's spec comes from: the param of its name, or all of them."""
    first = path.partition(".")[0]
    if first in type(params).model_fields:
        return f"params.{path}"
    base = getattr(params, "base", None)
    return f"params.base.{path}" if isinstance(base, dict) and first in base else "params"


def _params(experiment: Experiment, given: dict[str, Any]) -> Params:
    # From JSON, in which a list may be a tuple although all else is strict.
    try:
        return experiment.params.model_validate_json(json.dumps(given))
    except ValidationError as error:
        found = [
            {**one, "loc": ("body", "params", *one["loc"])}
            for one in error.errors(include_url=False)
        ]
        raise Invalid(*field_errors(found, {"params": given})) from None


def _refused(path: str, message: str, error: SpecRefused) -> SpecRefused:
    return SpecRefused(path, message, error.reason, **error.metadata)
