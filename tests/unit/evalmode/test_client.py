import inspect
import subprocess
import sys
from typing import Any

import pytest

import evalmode
from evalmode import async_client, client
from evalmode.resources import OperationRecord

TWINS = [
    *("Runs", "RunMethods", "Operations", "OperationMethods"),
    *("Checkpoints", "Models", "Datasets", "Experiments", "ExperimentMethods", "Client"),
]


@pytest.mark.parametrize("name", TWINS)
def test_the_two_clients_offer_the_same(name: str) -> None:
    here = _public(getattr(client, name))
    there = _public(getattr(async_client, f"Async{name}"))
    assert here == there
    assert here


def _public(kind: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(method).parameters)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def test_a_call_shows_the_parameters_and_the_text_of_what_it_does() -> None:
    runs = client.Client().runs
    assert list(inspect.signature(runs.wait).parameters) == ["run", "timeout", "poll"]
    assert list(inspect.signature(client.Run.wait).parameters) == ["self", "timeout", "poll"]
    assert (runs.wait.__doc__ or "").startswith("Wait until a run has ended")


def test_the_public_names_are_the_two_clients_and_their_error() -> None:
    assert evalmode.__all__ == ["AsyncClient", "Client", "EvalmodeApiError"]


def test_the_client_loads_no_torch_and_no_server() -> None:
    code = (
        "import sys, evalmode; evalmode.Client();"
        "heavy = {'torch', 'celery', 'fastapi', 'sqlalchemy', 'sklearn'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_bound_value_keeps_what_this_version_does_not_know(make_operation: Any) -> None:
    record = OperationRecord.model_validate(make_operation("running", colour="blue"))
    bound = client.bind_operation(client.Client(), record)
    assert (bound.id, bound.is_ended, bound.colour) == ("op_1", False, "blue")
