from typing import Any

import pytest

from evalmode import operations
from evalmode.errors import WaitTimeout


def test_an_operation_that_succeeded_tells_what_it_made(
    play: Any, answer: Any, make_operation: Any
) -> None:
    result = {
        "checkpoint": "ckpt_2",
        "before": {"test_accuracy": 0.5},
        "after": {"test_accuracy": 0.9},
        "curve": [{"batches": 1, "rows": 32, "mean_error": 0.1, "variance_error": None}],
        "method": "precise",
    }
    told = make_operation("succeeded", result=result, progress=1.0)
    made = play(operations.get("op_1"), answer(told)).value
    assert (made.is_ended, made.result.checkpoint, made.result.method) == (
        True,
        "ckpt_2",
        "precise",
    )
    assert made.result.curve[0].rows == 32


def test_waiting_ends_with_an_operation_that_failed(
    play: Any, answer: Any, make_operation: Any
) -> None:
    error = {"cause": "user", "reason": "TOO_FEW_ROWS", "message": "one row has no variance"}
    looks = [answer(make_operation("running")), answer(make_operation("failed", error=error))]
    played = play(operations.wait("op_1"), *looks)
    assert played.value.error.reason == "TOO_FEW_ROWS"
    assert [request.path for request in played.requests] == ["/v1/operations/op_1"] * 2


def test_waiting_gives_up_with_the_operation_as_it_was_last_seen(
    play: Any, answer: Any, make_operation: Any
) -> None:
    with pytest.raises(WaitTimeout, match=r"op_1 is running after 0.1 s") as caught:
        play(operations.wait("op_1", timeout=0.1), *[answer(make_operation("running"))] * 2)
    assert caught.value.last_seen.state == "running"


@pytest.mark.parametrize(
    ("checkpoint", "query"), [(None, {}), ("ckpt_1", {"checkpoint": "ckpt_1"})]
)
def test_a_list_can_be_of_one_checkpoint(
    checkpoint: str | None, query: dict[str, str], play: Any, answer: Any, make_operation: Any
) -> None:
    page = answer({"data": [make_operation()], "has_more": False, "last_id": "op_1"})
    played = play(operations.list_all(checkpoint), page)
    assert [found.id for found in played.emitted] == ["op_1"]
    assert played.requests[0].query == query


def test_an_id_cannot_leave_its_path(play: Any, answer: Any, make_operation: Any) -> None:
    played = play(operations.get("../../health"), answer(make_operation()))
    assert played.requests[0].path == "/v1/operations/..%2F..%2Fhealth"
