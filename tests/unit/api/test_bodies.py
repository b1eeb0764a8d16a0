"""Strict JSON: what is not JSON, or means two things to two readers, is refused."""

import json

import pytest

from api.bodies import parse_json
from api.problems import Refusal

NOT_JSON = {
    "empty": b"",
    "truncated": b'{"dataset": "digits"',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "minus Infinity": b'{"a": -Infinity}',
    "beyond float64": b'{"a": 1e999}',
    "5,000 digits": b'{"a": ' + b"9" * 5_000 + b"}",
    "duplicate keys": b'{"a": 1, "a": 1}',
    "duplicate keys inside": b'[{"b": {"a": 1, "a": 2}}]',
    "100,000 arrays": b"[" * 100_000 + b"]" * 100_000,
    "bad UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without a mark": '{"a": 1}'.encode("utf-16-le"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "lone surrogate": b'{"a": "\\ud800"}',
    "lone surrogate as a key": b'{"\\udfff": 1}',
    "single quotes": b"{'a': 1}",
    "comment": b'{"a": 1} // no',
    "two values": b"{} {}",
    "control character": b'{"a": "\x01"}',
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        parse_json(body)
    assert (refused.value.status_code, refused.value.reason) == (400, "MALFORMED_JSON")


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        None,
        True,
        "text",
        {"a": [1, 2.5, -0.0, "ü", {"b": None}]},
        {"pair": "\U0001f600"},
        {"backslash": "\\ud800"},
        2**63,
        10**300,
    ],
)
def test_json_is_read_as_it_is(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value


def test_nine_hundred_nested_arrays_are_json() -> None:
    assert parse_json(b"[" * 900 + b"]" * 900) is not None


def test_a_number_beyond_float64_is_left_to_a_caller_that_asks_for_it() -> None:
    assert parse_json(b"[1e999]", finite=False) == [float("inf")]


def test_the_refusal_does_not_repeat_the_input() -> None:
    with pytest.raises(Refusal) as refused:
        parse_json(b'{"secret-name": secret-value}')
    assert "secret" not in str(refused.value.detail)
