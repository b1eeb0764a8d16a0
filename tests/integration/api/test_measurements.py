"""Measures of a run over HTTP: what they would cost, and what they found."""

from typing import Any

import httpx
import pytest

from core import claims, measurements
from core.claims import Measurement, Report
from model.measures.catalogue import CATALOGUE

SPEC: dict[str, Any] = {"dataset": "digits", "network": {"kind": "mlp", "hidden": [5]}}


@pytest.fixture(scope="session")
def measured(service: Any) -> str:
    """A run with three probes of one measure and one of another."""
    run_id: str = service.submit(measures=["moments", "saturation"])["id"]
    new = [Measurement("moments", step, {"layers": [step, None]}) for step in (0, 10, 20)]
    new += [Measurement("saturation", 0, {"rows": 9})]
    epoch = service.claim(run_id)
    told = Report(20, measured=new)
    service.database.write(lambda c: claims.report(c, run_id, epoch, told))
    return run_id


def read(client: httpx.Client, run_id: str, **query: Any) -> httpx.Response:
    return client.get(f"/v1/runs/{run_id}/measurements", params=query)


def test_a_run_tells_what_its_measures_found(client: httpx.Client, measured: str) -> None:
    answer = read(client, measured)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {
        "object": "measurements",
        "series": {
            "moments": {
                "steps": [0, 10, 20],
                "values": [{"layers": [0, None]}, {"layers": [10, None]}, {"layers": [20, None]}],
                "sampled": False,
                "of": 3,
            },
            "saturation": {"steps": [0], "values": [{"rows": 9}], "sampled": False, "of": 1},
        },
    }


def test_kinds_first_step_and_count_choose(client: httpx.Client, measured: str) -> None:
    series = read(client, measured, kinds="moments", from_step=1).json()["series"]
    assert {kind: one["steps"] for kind, one in series.items()} == {"moments": [10, 20]}
    series = read(client, measured, max_points=2).json()["series"]
    assert (series["moments"]["steps"], series["moments"]["sampled"]) == ([0, 20], True)
    assert series["moments"]["of"] == 3


def test_a_run_without_measures_has_found_nothing(client: httpx.Client, service: Any) -> None:
    answer = read(client, service.submit()["id"])
    assert answer.json() == {"object": "measurements", "series": {}}


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"kinds": "colour"}, "kinds"),
        ({"kinds": ""}, "kinds"),
        ({"kinds": "moments,\x00"}, "kinds"),
        ({"max_points": 1}, "max_points"),
        ({"max_points": 10_001}, "max_points"),
        ({"from_step": -1}, "from_step"),
        ({"kind": "moments"}, "kind"),
    ],
    ids=str,
)
def test_a_bad_question_names_its_field(
    client: httpx.Client, measured: str, query: dict[str, Any], path: str
) -> None:
    answer = read(client, measured, **query)
    assert (answer.status_code, answer.json()["reason"]) == (422, "VALIDATION_FAILED")
    assert [error["path"] for error in answer.json()["errors"]] == [path]


def test_the_measurements_of_nothing_are_404(client: httpx.Client) -> None:
    answer = read(client, f"run_{'0' * 32}")
    assert (answer.status_code, answer.json()["reason"]) == (404, "RUN_NOT_FOUND")


def test_an_answer_that_would_be_too_large_is_refused_and_a_smaller_one_given(
    client: httpx.Client, service: Any
) -> None:
    run_id = service.submit()["id"]
    new = [Measurement("moments", step, {"map": "x" * 250_000}) for step in range(150)]
    service.database.write(lambda c: measurements.add(c, run_id, new))
    refused = read(client, run_id)
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["path"] == "max_points"
    assert "at most 33554432" in error["message"]
    assert len(read(client, run_id, max_points=100).json()["series"]["moments"]["steps"]) == 100


def check(client: httpx.Client, *measures: Any, **fields: Any) -> httpx.Response:
    body = SPEC | fields | {"measures": list(measures)}
    return client.post("/v1/runs", params={"validate_only": "true"}, json=body)


def test_a_check_tells_how_often_every_measure_is_taken_and_what_it_costs(
    client: httpx.Client,
) -> None:
    asked = ["saturation", {"kind": "gradients", "every": 400}, "relative_loss"]
    told = check(client, *asked, budget={"epochs": 300}).json()
    saturation, gradients, relative = told["measures"]
    assert saturation["kind"] == "saturation"
    assert saturation["probes"] >= 20
    assert 0 < saturation["share"] < 0.08
    assert (gradients["every"], gradients["probes"]) == (400, 35)
    assert (relative["every"], relative["probes"]) == (None, 3)
    assert [one.get("every") for one in told["spec"]["measures"]] == [
        saturation["every"],
        400,
        None,
    ]
    assert told["spec_hash"] == check(client, budget={"epochs": 300}).json()["spec_hash"]
    assert told["memory"]["measures"] > 0
    assert [one for one in told["findings"] if one["reason"].startswith("MEASURES")] == []


def test_a_run_that_measures_more_than_its_share_is_told_with_the_numbers(
    client: httpx.Client, service: Any
) -> None:
    run = service.submit(measures=["saturation"], budget={"epochs": 1})
    (finding,) = [one for one in run["findings"] if one["reason"] == "MEASURES_OVER_SHARE"]
    assert finding["severity"] == "note"
    assert finding["evidence"]["share"] > 0.08
    assert run["spec"]["measures"][0]["every"] == finding["evidence"]["measures"][0]["every"]


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("colour", "measures.0"),
        ({"kind": "moments", "every": 0}, "measures.0.every"),
        ({"kind": "moments", "often": 1}, "measures.0.often"),
        ({"kind": "percentiles", "layers": [7]}, "measures.0.layers.0"),
        ({"kind": "relative_loss", "at": [1, 9_999]}, "measures.0.at.1"),
    ],
    ids=str,
)
def test_a_measure_that_cannot_be_taken_is_refused_by_its_path(
    client: httpx.Client, asked: Any, path: str
) -> None:
    answer = check(client, asked)
    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["errors"]] == [path]


def test_a_measure_twice_and_too_many_are_refused(client: httpx.Client) -> None:
    twice = check(client, "moments", {"kind": "moments"})
    assert (twice.status_code, twice.json()["errors"][0]["path"]) == (422, "measures")
    assert "moments is there twice" in twice.json()["errors"][0]["message"]
    many = check(client, *["moments"] * 17)
    assert many.json()["errors"][0]["message"] == "at most 16 items are allowed, got 17"


def test_capabilities_name_the_measures(client: httpx.Client) -> None:
    found = client.get("/v1/capabilities").json()
    assert set(found["measures"]) == set(CATALOGUE)
    assert found["limits"]["measures"] == 16
    assert found["limits"]["measurement_bytes"] == 2**25
