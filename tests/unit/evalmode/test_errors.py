import json

import pytest

from evalmode import errors
from evalmode.errors import BY_STATUS, EvalmodeApiError, error_for

CONTRACT = [400, 401, 403, 404, 409, 413, 415, 422, 429, 503, 507]


def leaves(kind: type[EvalmodeApiError]) -> set[str]:
    return {kind.__name__}.union(*(leaves(child) for child in kind.__subclasses__()))


def test_every_error_stands_in_the_tree_that_the_module_draws() -> None:
    assert errors.__doc__ is not None
    drawn = {line.strip("|+- ").split()[0] for line in errors.__doc__.splitlines()[2:] if line}
    assert drawn == leaves(EvalmodeApiError)


@pytest.mark.parametrize("status", CONTRACT)
def test_every_status_of_the_contract_has_its_own_class(status: int) -> None:
    assert type(error_for(status, {}, b"")) is BY_STATUS[status]


def test_a_problem_keeps_reason_fields_and_values() -> None:
    body = {
        "detail": "The spec cannot work.",
        "reason": "VALIDATION_FAILED",
        "errors": [{"path": "network.hidden.0", "message": "too large"}],
        "metadata": {"limit": 3},
    }
    error = error_for(422, {"retry-after": "7"}, json.dumps(body).encode())
    assert (error.status, error.reason, error.metadata) == (422, "VALIDATION_FAILED", {"limit": 3})
    assert error.errors[0]["path"] == "network.hidden.0"
    assert error.problem.retry_after_seconds == 7
    assert str(error) == (
        "The spec cannot work. [VALIDATION_FAILED]\n  network.hidden.0: too large"
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff"])
@pytest.mark.parametrize(("status", "kind"), [(418, errors.Refused), (502, errors.ServiceFault)])
def test_an_answer_of_a_stranger_still_gives_an_error(
    body: bytes, status: int, kind: type[EvalmodeApiError]
) -> None:
    assert type(error_for(status, {}, body)) is kind


def test_an_open_inference_error_gives_its_text() -> None:
    assert "no such model" in str(error_for(404, {}, b'{"error": "no such model"}'))
