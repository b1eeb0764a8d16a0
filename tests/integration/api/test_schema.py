"""Whatever the description of the API allows, or forbids, is answered as it says; never a 5xx.

Requests are generated from /openapi.json, the same ones every time.
"""

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks

from api.main import create_app
from api.serving import inputs
from core.settings import Settings

for _kind in (*inputs.NPY, *inputs.IMAGES):
    schemathesis.serializer.alias(_kind, inputs.RAW)

# The tool's own list of refusals, and 431: a query may be too long before it is read at all.
REFUSED = ["400", "401", "403", "404", "406", "409", "413", "415", "422", "428", "431"]
config = SchemathesisConfig.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}}
)
schema = schemathesis.openapi.from_dict(create_app(Settings()).openapi(), config=config)
bounded = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@schema.exclude(path_regex="/events/stream$").parametrize()
@settings(bounded, max_examples=30)
def test_the_service_does_what_its_description_says(case: Any, service: Any) -> None:
    # What a schema can say is not all that makes a spec work, so a refusal of the valid is right.
    not_here = [checks.positive_data_acceptance]
    case.call_and_validate(base_url=service.url, timeout=30, excluded_checks=not_here)


@pytest.fixture(scope="module")
def ids(service: Any, trained: Any, scored: Any, sound: Any, reported: Any) -> dict[str, str]:
    """By path parameter, something that exists: a checkpoint with all that a worker finds."""
    checkpoint = scored["checkpoints"][0]
    operation = httpx.post(f"{service.url}/v1/checkpoints/{checkpoint}/recalibrate", json={})
    named = {"run_id": trained["id"], "checkpoint_id": checkpoint}
    model = f"{service.url}/v1/models/described"
    httpx.put(model, json={"checkpoint": sound["checkpoint"]}, timeout=30)
    httpx.put(f"{model}/aliases/live", json={"version": 1})
    named |= {"name": "described", "version": "1", "alias": "live"}
    named |= {"experiment_id": reported["id"], "figure": "curves", "form": "svg"}
    named |= {"table": "by-seed"}
    return named | {"operation_id": operation.json()["id"]}


@(
    schema.include(path_regex="run_id|checkpoint_id|operation_id|experiment_id|name")
    .exclude(method="DELETE")
    .parametrize()
)
@settings(bounded, max_examples=15)
def test_the_same_holds_for_what_exists(case: Any, service: Any, ids: dict[str, str]) -> None:
    case.path_parameters = {name: ids[name] for name in case.path_parameters}
    not_here = [checks.positive_data_acceptance, checks.negative_data_rejection]
    case.call_and_validate(base_url=service.url, timeout=30, excluded_checks=not_here)
