"""The table from errors to statuses is complete, and every answer has the form of a problem."""

import asyncio
import gc
import json
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI, Request

from api import problems
from api.problems import RETRY_AFTER, STATUS, Refusal
from core import errors as core
from core.states import State
from model import errors as model


def tree(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI(redirect_slashes=False)
    problems.install(app)
    return app


def ask(app: FastAPI, path: str, method: str = "GET") -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path)

    return asyncio.run(send())


def raised(app: FastAPI, error: Exception, path: str = "/thing/x") -> httpx.Response:
    @app.get("/thing/{name}")
    async def thing(request: Request, name: str) -> None:
        raise error

    return ask(app, path)


def test_every_error_below_has_a_status_and_no_other() -> None:
    assert set(STATUS) == {*tree(core.EvalmodeError), *tree(model.ModelError)}


def test_what_is_unavailable_says_when_to_come_back() -> None:
    unavailable = {error for error, status in STATUS.items() if status == 503}
    assert unavailable <= set(RETRY_AFTER)


def test_every_reason_is_stable_upper_snake_and_belongs_to_one_error() -> None:
    reasons = [error.reason for error in STATUS]  # type: ignore[attr-defined]
    assert len(set(reasons)) == len(reasons)
    assert all(reason.replace("_", "").isalnum() and reason.isupper() for reason in reasons)


def test_an_error_becomes_a_problem_with_every_value_of_its_text(app: FastAPI) -> None:
    answer = raised(app, core.MoveForbidden("pause", State.FAILED), "/thing/a%20b")
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:evalmode:problem:move-forbidden",
        "title": "Move forbidden",
        "status": 409,
        "detail": "A run that is failed cannot pause.",
        "instance": "/thing/a%20b",
        "reason": "MOVE_FORBIDDEN",
        "metadata": {"move": "pause", "state": "failed"},
    }


def test_a_full_queue_is_503_with_whole_seconds_to_wait(app: FastAPI) -> None:
    answer = raised(app, core.QueueFull(10))
    assert answer.status_code == 503
    assert 5 <= int(answer.headers["retry-after"]) <= 10


def test_a_refused_spec_names_its_field_and_its_own_reason(app: FastAPI) -> None:
    error = model.SpecRefused("network", "too large", "MODEL_TOO_LARGE", computed=2**70)
    problem = raised(app, error).json()
    assert (problem["status"], problem["reason"]) == (422, "MODEL_TOO_LARGE")
    assert problem["errors"] == [{"path": "network", "message": "too large"}]
    assert problem["metadata"] == {"computed": 2**70}


def test_the_path_of_a_deeply_nested_layer_is_cut(app: FastAPI) -> None:
    error = model.SpecRefused("network" + ".layers.0" * 60, "does not fit", reason="X", detail=1)
    problem = raised(app, error).json()
    assert len(problem["errors"][0]["path"]) == 200
    assert problem["metadata"] == {"detail": 1}


def test_a_refused_row_is_named_by_its_path(app: FastAPI) -> None:
    problem = raised(app, model.InputRefused("row 3 is bad", row=3)).json()
    assert problem["errors"] == [{"path": "inputs.3", "message": "row 3 is bad"}]


def test_metadata_without_a_json_form_is_answered_all_the_same(app: FastAPI) -> None:
    error = model.DatasetInvalid("odd", value=float("nan"), path=object())
    text = raised(app, error).text
    assert json.loads(text)["metadata"]["value"] is None


def test_a_core_error_that_the_table_does_not_know_takes_its_parents_status(app: FastAPI) -> None:
    class Stranger(core.Conflict):
        reason = "STRANGER"

    try:
        assert raised(app, Stranger("new")).status_code == 409
    finally:
        del Stranger
        gc.collect()  # or the tests of the whole tree would find it


def test_an_unknown_path_is_a_problem(app: FastAPI) -> None:
    answer = ask(app, "/nothing")
    assert (answer.status_code, answer.json()["reason"]) == (404, "NOT_FOUND")


def test_another_method_is_405_and_names_all_that_are_allowed(app: FastAPI) -> None:
    @app.post("/thing/{name}")
    async def post(name: str) -> None: ...

    raised(app, Refusal(400, "X", "x"))
    answer = ask(app, "/thing/x", "DELETE")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    assert answer.json()["reason"] == "METHOD_NOT_ALLOWED"


def test_the_instance_is_shortened(app: FastAPI) -> None:
    answer = raised(app, core.RunNotFound(), "/thing/" + "x" * 10_000)
    assert len(answer.json()["instance"]) == 200


def test_under_v2_an_error_has_the_form_of_the_open_inference_protocol(app: FastAPI) -> None:
    assert ask(app, "/v2/models/x").json() == {"error": "Not Found."}
