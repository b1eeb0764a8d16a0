import json
import math

from model.measures.probe import Reading
from model.measures.readings import MOST_BYTES, measured, unreadable


def test_a_reading_keeps_its_values_and_its_data():
    one = measured("moments", 7, Reading({"moments.a": math.inf}, {"layers": [1, (2, 3)]}))
    assert (one.kind, one.step, dict(one.values)) == ("moments", 7, {"moments.a": math.inf})
    assert one.data == {"layers": [1, [2, 3]]}


def test_numbers_that_json_does_not_have_are_null():
    data = {"a": math.nan, "b": [math.inf, -math.inf, 1.5], "c": {"d": math.nan}}
    one = measured("moments", 0, Reading({}, data))
    assert one.data == {"a": None, "b": [None, None, 1.5], "c": {"d": None}}


def test_more_than_a_hundred_values_are_left_out_and_that_is_said():
    values = {f"moments.{index}": float(index) for index in range(130)}
    one = measured("moments", 0, Reading(values, {}))
    assert list(one.values) == list(values)[:100]
    assert one.data == {"values_left_out": 30}


def test_data_that_is_too_large_is_left_out_and_that_is_said():
    fits, too_large = "x" * (MOST_BYTES - 11), "x" * (MOST_BYTES - 10)
    assert len(json.dumps({"map": fits})) == MOST_BYTES
    assert measured("moments", 0, Reading({}, {"map": fits})).data == {"map": fits}
    one = measured("moments", 0, Reading({"moments.a": 1.0}, {"map": too_large}))
    assert one.data["left_out"] == "too large"
    assert (one.data["bytes"], one.data["most_bytes"]) == (MOST_BYTES + 1, MOST_BYTES)
    assert one.values == {"moments.a": 1.0}


def test_what_could_not_be_read_says_why_in_few_words():
    one = unreadable(ValueError("x" * 10_000))
    assert one.values == {}
    assert one.data["unreadable"].startswith("ValueError: xxx")
    assert len(one.data["unreadable"]) == 500
