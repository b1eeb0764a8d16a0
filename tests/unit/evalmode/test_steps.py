from typing import Any

import pytest

from evalmode.errors import BadAnswer, Conflict, Invalid, NoAnswer, NotFound, Unavailable
from evalmode.steps import ATTEMPTS, Request, exchange, fetch, pages, post_json

GET = Request("GET", "/v1/runs/run_1")
BROKEN = NoAnswer("connection reset")


def test_a_broken_connection_is_tried_again_with_growing_pauses(play: Any, answer: Any) -> None:
    played = play(exchange(GET), BROKEN, BROKEN, BROKEN, answer(b"{}"))
    assert played.requests == [GET] * 4
    assert played.pauses == [0.2, 0.4, 0.8]


def test_a_connection_that_stays_broken_is_given_up(play: Any) -> None:
    with pytest.raises(NoAnswer):
        play(exchange(GET), *[BROKEN] * ATTEMPTS)


@pytest.mark.parametrize("status", [409, 429, 503])
def test_later_is_obeyed_as_long_as_the_service_asks(status: int, play: Any, answer: Any) -> None:
    later = answer(b"", status, retry_after="2")
    assert play(exchange(GET), later, answer(b"{}")).pauses == [2.0]


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFound), (409, Conflict), (422, Invalid), (503, Unavailable)]
)
def test_a_refusal_without_later_is_raised_at_once(
    status: int, kind: type[Exception], play: Any, answer: Any
) -> None:
    with pytest.raises(kind):
        play(exchange(GET), answer(b"", status))


def test_an_hour_of_later_is_cut_to_half_a_minute(play: Any, answer: Any) -> None:
    played = play(exchange(GET), answer(b"", 503, retry_after="3600"), answer(b"{}"))
    assert played.pauses == [30.0]


def test_a_deletion_whose_answer_was_lost_is_done_when_nothing_is_left(
    play: Any, answer: Any
) -> None:
    gone = answer(b"", 404)
    assert play(exchange(Request("DELETE", "/v1/runs/run_1")), BROKEN, gone).value == gone


def test_a_deletion_of_nothing_is_an_error(play: Any, answer: Any) -> None:
    with pytest.raises(NotFound):
        play(exchange(Request("DELETE", "/v1/runs/run_1")), answer(b"", 404))


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1, 2"])
def test_an_answer_that_is_no_json_is_a_bad_answer(body: bytes, play: Any, answer: Any) -> None:
    with pytest.raises(BadAnswer):
        play(fetch(GET, dict), answer(body))


def test_a_list_is_read_page_by_page_until_there_is_no_more(play: Any, answer: Any) -> None:
    first = answer({"data": [3, 2], "has_more": True, "last_id": "run_2"})
    last = answer({"data": [1], "has_more": False, "last_id": "run_1"})
    played = play(pages("/v1/runs", {"state": "queued"}, int), first, last)
    assert played.emitted == [3, 2, 1]
    assert [request.query for request in played.requests] == [
        {"state": "queued"},
        {"state": "queued", "after": "run_2"},
    ]


def test_a_json_body_never_holds_what_is_not_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        post_json("/v1/runs", {"lr": float("nan")})
