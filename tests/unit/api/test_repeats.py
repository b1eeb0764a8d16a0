"""Idempotency keys: which are accepted, and what they stand for."""

import pytest
from fastapi import Request

from api import repeats
from api.problems import Refusal


def request() -> Request:
    return Request({"type": "http", "method": "POST", "path": "/v1/runs", "headers": []})


@pytest.mark.parametrize("key", ["a", "x" * 255, "8e03978e-40d5-43dd-bc93-6894a57f9324", "a b"])
def test_a_printable_key_is_taken(key: str) -> None:
    asked = repeats.asked(request(), key, "hash")
    assert asked is not None
    assert (asked.scope, asked.key, asked.body_hash) == ("POST /v1/runs", key, "hash")


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "x" * 300, "a\x00", "ü", "a\n"])
def test_any_other_key_is_refused(key: str) -> None:
    with pytest.raises(Refusal) as refused:
        repeats.asked(request(), key, "hash")
    assert refused.value.status_code == 400
    assert refused.value.metadata == {"least": 1, "most": 255}


def test_the_order_of_keys_does_not_change_what_a_body_stands_for() -> None:
    assert repeats.hash_of({"a": 1, "b": 2}) == repeats.hash_of({"b": 2, "a": 1})
    assert repeats.hash_of({"a": 1}) != repeats.hash_of({"a": 2})
