"""What an experiment may ask for: from a body to a kind, its params and the runs that it plans.

It asks for no record and no file; what is here decides in `api.experiments`.
"""

import json
from collections.abc import Mapping, Sequence
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
NO_NAMES: Mapping[str, str] = {}
#: What fills a field of every spec where a kind has a param of this name, but none of the field's:
#: the first that fits. What a kind sets itself and the rows do not allow comes from the dataset.
FILLED_BY = {
    "network.hidden": "hidden",
    "network": "hidden",
    "optimizer.lr": "lr",
    "budget": "steps",
    "evaluate_every": "steps",
    "checkpoint_every": "steps",
    "tail": "batch_size",
    **dict.fromkeys(("loss", "sampling", "scaling", "split", "batch_size"), "dataset"),
}


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
    return _refused(in_params(error.path, params, planned.named), message, error)


def in_params(path: str, params: Params, named: Mapping[str, str] = NO_NAMES) -> str:
    """Where a field of a run's spec comes from: a param, a field of the base, or all of them.

    Args:
        named: params by the fields that they fill, where these have other names.
    """
    first = path.partition(".")[0]
    base = getattr(params, "base", None)
    if isinstance(base, dict) and first in base:
        return f"params.base.{path}"
    for field, param in (*named.items(), (first, first), *FILLED_BY.items()):
        if f"{path}.".startswith(f"{field}.") and param in type(params).model_fields:
            return _existing(params, [param, *path[len(field) :].split(".")[1:]])
    return "params"


def _existing(params: Params, steps: Sequence[str]) -> str:
    """A path into the params that ends where a number, a word or nothing is, or a list without it.

    What an object lacks stays in the path: it may be what should be there.
    """
    value: Any = params.model_dump(mode="json")
    found = ["params"]
    for step in steps:
        if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict):
            value = value.get(step, {})
        else:
            break
        found.append(step)
    return ".".join(found)


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
