"""Lists among the params of experiments."""

from typing import Annotated

import pytest
from pydantic import ValidationError

from model.lab.several import ascending, descending, each_once, several
from model.spec.parts import Part


class Lists(Part):
    once: Annotated[tuple[float | str, ...], *several(3, each_once)] = ()
    up: Annotated[tuple[float, ...], *several(3, ascending)] = ()
    down: Annotated[tuple[int, ...], *several(3, descending)] = ()


def test_lists_of_json_become_tuples() -> None:
    lists = Lists.model_validate({"once": [2.0, "a", 1.0], "up": [1.0, 2.0], "down": [3, 1]})
    assert lists == Lists(once=(2.0, "a", 1.0), up=(1.0, 2.0), down=(3, 1))


@pytest.mark.parametrize(
    ("field", "values", "words"),
    [
        ("once", ["a", "a"], "every value may be there once"),
        ("once", [1.0, 1.00000001], "every value may be there once"),
        ("up", [1.0, 1.0], "larger than the one before"),
        ("up", [1.0, 1.00000001], "every value may be there once"),
        ("down", [1, 2], "smaller than the one before"),
        ("down", [2, 2], "smaller than the one before"),
        ("up", [1.0, 2.0, 3.0, 4.0], "at most 3 items"),
    ],
)
def test_others_are_refused_in_words(field: str, values: list[float | str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Lists.model_validate({field: values})
